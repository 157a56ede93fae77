package import ConfigurationManager
package import RegistryFileSystem

/// What `-o` says, as mount(8) passes it: words and `name=value`, parted by commas; `\,` is a comma, `\\` a backslash.
package struct MountOptions: Hashable, Sendable {
  package var isReadOnly = false
  /// A dirty hive that no log makes whole is served as it lies.
  /// A damaged hive is written all the same, and with `isReadOnly` one is served that no log makes whole.
  package var isForced = false
  package var allowsOthers = false
  /// Path of the policy; nil: the one that ships.
  package var policy: String?
  /// Path of the event log; nil: none.
  package var log: String?
  /// More places for events, as `log-to` names them.
  package var logPlaces: [String] = []
  /// How and which events are told; nil: as without the option. What the words mean is the caller's to say.
  package var logFormat: String?
  package var logScope: String?
  /// Beginning, end and trust of every process are events too.
  package var logsProcesses = false
  /// The registry name of the hive's root; nil: by content and file name.
  package var location: String?
  package var userID: UInt32?
  package var groupID: UInt32?
  package var umask: UInt32 = 0o022
  /// A SYSTEM hive has a link `CurrentControlSet`.
  package var showsCurrentControlSet = true
  /// Of files and of directories, where they differ from `umask`.
  package var fileMask: UInt32?
  package var directoryMask: UInt32?
  /// What programs make under names of temporary files stays in memory until it gets another.
  package var usesScratchNames = true
  /// Every file shows and takes bytes, whatever the type.
  package var showsBytes = false
  /// Numbers are shown as hexadecimal ones.
  package var hasHexadecimalNumbers = false
  /// Values are listed with the alias of their type.
  package var listsTypes = false
  /// When a change survives power loss.
  package var durability = Durability.fsync
  /// What mount(8) shows as the device; nil: the hive's path.
  package var fileSystemName: String?
  /// Options that the kernel takes as they are.
  package var kernelOptions: [String] = []

  package init() {}

  /// How files show their values.
  package var view: ValueView { showsBytes ? .bytes : hasHexadecimalNumbers ? .hexadecimal : .text }

  /// Why an option cannot be taken, for people.
  package struct Problem: Error, Hashable, Sendable, CustomStringConvertible {
    package let description: String
  }

  /// The later of two that contradict each other counts.
  package init(parsing lists: [String]) throws(Problem) {
    for list in lists {
      for option in Self.split(list) where !option.isEmpty { try take(option) }
    }
  }

  /// The kernel's own, which libfuse hands on.
  private static let handedOn: Set<String> = [
    "suid", "nosuid", "dev", "nodev", "exec", "noexec", "sync", "async", "atime", "noatime",
  ]
  /// What stands in fstab for mount(8), not for us.
  private static let ignored: Set<String> = [
    "defaults", "auto", "noauto", "user", "nouser", "users", "owner", "group", "_netdev", "nofail", "relatime",
    "norelatime", "strictatime", "nostrictatime", "diratime", "nodiratime", "lazytime", "nolazytime", "default_permissions",
  ]

  private mutating func take(_ option: String) throws(Problem) {
    let cut = option.firstIndex(of: "=")
    let name = cut.map { String(option[..<$0]) } ?? option
    let value = cut.map { String(option[option.index(after: $0)...]) }
    switch (name, value) {
    case ("ro", nil): isReadOnly = true
    case ("rw", nil): isReadOnly = false
    case ("force", nil): isForced = true
    case ("allow_other", nil): allowsOthers = true
    case ("log-processes", nil): logsProcesses = true
    case ("raw", nil): showsBytes = true
    case ("typesuffix", nil): listsTypes = true
    case ("numbers", let value?):
      guard value == "hex" || value == "decimal" else {
        throw Problem(description: "option numbers: \(value) is none of decimal, hex")
      }
      hasHexadecimalNumbers = value == "hex"
    case ("policy", let value?) where !value.isEmpty: policy = value
    case ("log", let value?) where !value.isEmpty: log = value
    case ("log-to", let value?) where !value.isEmpty: logPlaces.append(value)
    case ("log-format", let value?) where !value.isEmpty: logFormat = value
    case ("log-ops", let value?) where !value.isEmpty: logScope = value
    case ("at", let value?) where !value.isEmpty: location = value
    case ("fsname", let value?) where !value.isEmpty: fileSystemName = value
    case ("sync", let value?):
      guard let known = Durability(rawValue: value) else {
        let words = Durability.allCases.map(\.rawValue).joined(separator: ", ")
        throw Problem(description: "option sync: \(value) is none of \(words)")
      }
      durability = known
    case ("ccs", let value?):
      guard ["on", "off"].contains(value) else { throw Problem(description: "option ccs: \(value) is neither on nor off") }
      showsCurrentControlSet = value == "on"
    case ("scratch", "on"?): usesScratchNames = true
    case ("scratch", "off"?): usesScratchNames = false
    case ("scratch", _): throw Problem(description: "option scratch is scratch=on or scratch=off")
    case ("uid", let value?): userID = try Self.number(value, of: name, radix: 10)
    case ("gid", let value?): groupID = try Self.number(value, of: name, radix: 10)
    case ("umask", let value?): umask = try Self.mask(value, of: name)
    case ("fmask", let value?): fileMask = try Self.mask(value, of: name)
    case ("dmask", let value?): directoryMask = try Self.mask(value, of: name)
    case ("log-to", _), ("log-format", _), ("log-ops", _), ("policy", _), ("log", _), ("at", _), ("fsname", _), ("ccs", nil), ("uid", nil),
      ("gid", nil), ("umask", nil), ("fmask", nil), ("dmask", nil), ("numbers", nil):
      throw Problem(description: "option \(name) needs a value: \(name)=…")
    case ("ro", _?), ("rw", _?), ("force", _?), ("allow_other", _?), ("log-processes", _?), ("raw", _?),
      ("typesuffix", _?):
      throw Problem(description: "option \(name) takes no value")
    default:
      if value == nil, Self.handedOn.contains(name) {
        kernelOptions.append(name)
      } else if !(value == nil && Self.ignored.contains(name)), !name.hasPrefix("x-"), name != "comment" {
        throw Problem(description: "unknown option \(option)")
      }
    }
  }

  private static func mask(_ text: String, of name: String) throws(Problem) -> UInt32 {
    let mask = try number(text, of: name, radix: 8)
    guard mask <= 0o777 else { throw Problem(description: "option \(name): \(text) is more than 777") }
    return mask
  }

  private static func number(_ text: String, of name: String, radix: Int) throws(Problem) -> UInt32 {
    guard text.utf8.first.map({ (0x30...0x39).contains($0) }) == true, let number = UInt32(text, radix: radix) else {
      throw Problem(
        description: "option \(name): \(text) is not \(radix == 8 ? "an octal" : "a decimal") number")
    }
    return number
  }

  private static func split(_ list: String) -> [String] {
    var options: [String] = []
    var current = ""
    var isEscaped = false
    for character in list {
      if isEscaped {
        // Any other pair stays as it is: registry names are full of backslashes.
        if character != ",", character != "\\" { current.append("\\") }
        current.append(character)
        isEscaped = false
      } else if character == "\\" {
        isEscaped = true
      } else if character == "," {
        options.append(current)
        current = ""
      } else {
        current.append(character)
      }
    }
    if isEscaped { current.append("\\") }
    return options + [current]
  }
}
