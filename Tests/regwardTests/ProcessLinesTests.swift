import Testing

@testable import regward

@Suite("Processes in lines for people")
struct ProcessLinesTests {
  private let today = "2026-01-31T23:00:00.0000000Z"

  private func process(_ pid: Int64, _ image: String?, flags: [String] = [], start: String = "2026-01-31T12:34:56.7890000Z") -> JSONValue {
    .object([
      "pid": .number(pid), "start": .text(start), "image": .optional(image), "flags": .list(flags.map { .text($0) }),
      "rules": .list([]), "trusted": .flag(flags.contains("Trusted")), "doc_open": pid == 7 ? .text("pdf") : .null,
      "denials": .number(2), "events": .number(30),
    ])
  }

  @Test func columnsAreAsWideAsWhatIsInThem() {
    let text = ProcessLines.table(
      [process(7, "/a"), process(123456, nil, flags: ["MsMpEng", "Trusted"], start: "2025-01-31T12:34:56.7890000Z")], width: nil,
      today: today)
    #expect(
      text == """
           PID  START       TRUSTED  DENIED  EVENTS  FLAGS       IMAGE
             7  12:34:56    no            2      30  opens .pdf  /a
        123456  2025-01-31  yes           2      30  MsMpEng     -

        """)
  }

  @Test func aLongPathLosesItsBeginningOnATerminal() {
    let long = "/" + String(repeating: "x", count: 100) + "/agent\u{1B}[2J"
    let lines = ProcessLines.table([process(1, long)], width: 60, today: today).split(separator: "\n")
    #expect(lines[1].count == 60 && lines[1].contains("…") && lines[1].hasSuffix("/agent\u{FFFD}[2J"))
    #expect(ProcessLines.table([process(1, long)], width: nil, today: today).contains("/xxx"))
  }

  @Test func anEventIsALineAndALossOneMore() {
    let event = JSONValue.object([
      "@timestamp": .text("2026-01-31T12:34:56.7890000Z"), "event": .object(["action": .text("process-created")]),
      "regward": .object([
        "trusted": .flag(true), "flags": .list([.text("MsMpEng"), .text("Trusted")]), "lost": .object(["dropped": .number(4)]),
      ]),
      "process": .object(["pid": .number(12), "executable": .text("/bin/x"), "parent": .object(["pid": .number(3)])]),
    ])
    var images: [Int64: String] = [:]
    #expect(
      ProcessLines.text(of: event, width: nil, images: &images) == """
        # 4 lost: they came faster than they were read
        12:34:56.789  created          12        3  yes      /bin/x [MsMpEng]

        """)
    // An end names no image, but it was told before.
    let end = JSONValue.object([
      "@timestamp": .text("2026-01-31T12:34:57.7890000Z"), "event": .object(["action": .text("process-terminated")]),
      "process": .object(["pid": .number(12)]),
    ])
    let line = "12:34:57.789  terminated       12        -  -        "
    #expect(ProcessLines.text(of: end, width: nil, images: &images) == line + "/bin/x\n")
    #expect(ProcessLines.text(of: end, width: nil, images: &images) == line + "-\n")
  }
}
