internal import ArgumentParser
internal import Glibc

/// `regward ctl`: any message through a mount's control socket.
struct CtlCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "ctl",
    abstract: "Sends a message to a mount, and prints the answer as JSON.",
    discussion: """
      MESSAGE is a name, JSON an object with its members, in quotes for the shell:

        SET_PROCESS_EXCLUSION {"exclusions": ["/opt/agent", "/usr/lib/acme/**"]}
        REGISTER_FRIENDLY_PROCESS {"when": {"exe": "/usr/bin/dpkg", "uid": 0}}
        SET_PROCESS_INFO {"pid": 12, "start_ticks": 345, "clear_flags": ["Friendly"]}
        SET_DOC_OPEN_RULE {"doc_open": [{"image": "AcroRd32", "extension": "pdf"}]}
        QUERY_TRUSTED_AND_UNTRUSTED_PROCESS {"after": 1234}
        SUBSCRIBE_PROCESS_NOTIFICATIONS {"refresh": true}, with --follow
        REG_UPDATE_DATA {"policy": "/etc/regward/policy.yaml"}
        QUERY_STATISTICS
        UPDATE_SYNC_MONITOR_CONFIG {"timeout_ms": 1000}

      Lists replace the ones before; what messages have set holds until the next reload. Root and the user who mounted may \
      send messages, and each that changes something stands in the event log.

      Exit status: 0 done; 1 refused, with the reason in the answer; 2 no answer.
      """)

  @Flag(help: "Stay, and print what comes until the mount ends: a JSON object a line.")
  var follow = false

  @Argument(help: ArgumentHelp("A mount point, or a path below it.", valueName: "mount-point"), completion: .directory)
  var mountPoint: String

  @Argument(help: "The message's name.")
  var message: String

  @Argument(help: "Its members, a JSON object.")
  var json: String = "{}"

  func run() throws {
    try MountFailure.exiting { () throws(MountFailure) in
      let client = try ControlClient(mountOf: mountPoint)
      let answer = try client.ask(.object([.init(name: "message", value: .text(message))] + (try members())))
      Console.write(Array((answer.json + "\n").utf8), to: STDOUT_FILENO)
      guard answer["status"]?.string == "ok" else { throw MountFailure("", status: 1) }
      while follow, let packet = try client.receive() {
        guard Console.write(Array((packet.json + "\n").utf8), to: STDOUT_FILENO) else { return }
      }
    }
  }

  private func members() throws(MountFailure) -> [JSONValue.Member] {
    let value: JSONValue
    do throws(JSONReader.Problem) { value = try JSONReader.read(Array(json.utf8)) } catch {
      throw MountFailure("\(json) is no JSON: \(error.description), at byte \(error.offset)", status: 1)
    }
    guard let members = value.members else { throw MountFailure("\(json) is no JSON object", status: 1) }
    return members.filter { $0.name != "message" }
  }
}
