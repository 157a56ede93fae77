/// What a rule can ask of an event, by Sysmon's names; those that are cheap to compare, and seldom hold, first.
package enum SigmaField: String, CaseIterable, Sendable {
  case eventID = "EventID"
  case eventType = "EventType"
  case processID = "ProcessId"
  case user = "User"
  case targetObject = "TargetObject"
  case newName = "NewName"
  case image = "Image"
  case details = "Details"

  static let all = allCases

  var place: Int {
    switch self {
    case .eventID: 0
    case .eventType: 1
    case .processID: 2
    case .user: 3
    case .targetObject: 4
    case .newName: 5
    case .image: 6
    case .details: 7
    }
  }
}
