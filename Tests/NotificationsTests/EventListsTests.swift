import Executive
import Testing

@testable import Notifications

@Suite struct EventListsTests {
  private func event(_ number: UInt64, urgent: Bool, bytes: Int = 0) -> QueuedEvent {
    var notification = Samples.notification(.preDeleteKey, key: "k", denied: urgent)
    notification.sequence = number
    if bytes > 0 { notification.newValue = RegistryValue(type: .binary, data: Array(repeating: 0, count: bytes)) }
    return QueuedEvent(.registry(notification))
  }

  private func numbers(_ lists: inout EventLists) -> [UInt64] {
    var numbers: [UInt64] = []
    while let event = lists.pop() { numbers.append(event.event.sequence) }
    return numbers
  }

  @Test func urgentOnesComeFirstAndNormalOnesDoNotStarve() {
    var lists = EventLists(capacity: 100, starvationLimit: 3)
    for number in 1...4 as ClosedRange<UInt64> { _ = lists.push(event(number, urgent: false)) }
    for number in 11...18 as ClosedRange<UInt64> { _ = lists.push(event(number, urgent: true)) }
    #expect(numbers(&lists) == [11, 12, 13, 1, 14, 15, 16, 2, 17, 18, 3, 4])
  }

  @Test func aFullListDropsItsOwnOldest() {
    var lists = EventLists(capacity: 2, starvationLimit: 8)
    #expect(lists.push(event(1, urgent: true)).isEmpty)
    #expect(lists.push(event(2, urgent: false)).isEmpty)
    #expect(lists.push(event(3, urgent: false)).isEmpty)
    #expect(lists.push(event(4, urgent: false)).map(\.event.sequence) == [2])
    #expect(lists.push(event(5, urgent: true)).isEmpty)
    #expect(lists.push(event(6, urgent: true)).map(\.event.sequence) == [1])
    #expect(numbers(&lists) == [5, 6, 3, 4])
  }

  @Test func whatIsHeavyMakesTheOldestGiveWayEarlier() {
    var lists = EventLists(capacity: 100, starvationLimit: 8)
    let third = EventLists.heaviest / 3
    for number in 1...2 as ClosedRange<UInt64> { #expect(lists.push(event(number, urgent: false, bytes: third)).isEmpty) }
    #expect(lists.push(event(3, urgent: false, bytes: third)).map(\.event.sequence) == [1])
    // Two give way to one, and what is left is as light as if they had never been there.
    #expect(lists.push(event(4, urgent: false, bytes: 2 * third)).map(\.event.sequence) == [2, 3])
    #expect(lists.push(event(5, urgent: false)).isEmpty)
    // One that is too heavy alone is kept: who writes a gigabyte is told of.
    #expect(lists.push(event(6, urgent: false, bytes: EventLists.heaviest + 1)).map(\.event.sequence) == [4, 5])
    #expect(numbers(&lists) == [6])
    #expect(lists.push(event(7, urgent: false, bytes: third)).isEmpty)
  }
}
