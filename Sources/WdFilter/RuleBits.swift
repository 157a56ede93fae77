/// What a rule watches and refuses: the bits of a monitored key's or value's rule word (wdfilter.md 3.1).
package struct RuleBits: OptionSet, Hashable, Sendable {
  package let rawValue: UInt32

  package init(rawValue: UInt32) { self.rawValue = rawValue }

  package static let createKeyOperation = RuleBits(rawValue: 0x1)
  package static let renameKeyOperation = RuleBits(rawValue: 0x4)
  package static let deleteKeyOperation = RuleBits(rawValue: 0x10)
  package static let setValueKeyOperation = RuleBits(rawValue: 0x100)
  package static let setValueRetrieveKeyValueInfo = RuleBits(rawValue: 0x400)
  package static let deleteValueKeyOperation = RuleBits(rawValue: 0x800)
  package static let deleteValueRetrieveKeyValueInfo = RuleBits(rawValue: 0x2000)
  package static let restoreKeyOperation = RuleBits(rawValue: 0x4000)
  package static let replaceKeyOperation = RuleBits(rawValue: 0x8000)
  package static let createDenied = RuleBits(rawValue: 0x10000)
  package static let renameDenied = RuleBits(rawValue: 0x20000)
  /// Of the key in a key's list, of the value in a value's list: one bit, two permissions.
  package static let deleteDenied = RuleBits(rawValue: 0x40000)
  package static let setValueDenied = RuleBits(rawValue: 0x80000)
  package static let replaceDenied = RuleBits(rawValue: 0x100000)
  package static let restoreDenied = RuleBits(rawValue: 0x200000)
  /// Every change that the rule matches is refused, to every process without exception.
  package static let tamperProtectionActive = RuleBits(rawValue: 0x400000)

  /// Bits that the driver knows and nobody else does: kept as read, without effect.
  package static let unknown = RuleBits(rawValue: 0x180_0000)

  /// Bits that watch something.
  package static let anyOperation: RuleBits = [
    .createKeyOperation, .renameKeyOperation, .deleteKeyOperation, .setValueKeyOperation, .deleteValueKeyOperation,
    .restoreKeyOperation, .replaceKeyOperation,
  ]

  /// Bits that refuse something.
  package static let anyDenied: RuleBits = [
    .createDenied, .renameDenied, .deleteDenied, .setValueDenied, .replaceDenied, .restoreDenied,
    .tamperProtectionActive,
  ]

  /// Bits about values that a key's own list may hold: they speak of any value of the key. `deleteDenied` is not among
  /// them, in a key's list it is about the key.
  static let valueBitsOfKeyList: RuleBits = [
    .setValueKeyOperation, .setValueRetrieveKeyValueInfo, .deleteValueKeyOperation, .deleteValueRetrieveKeyValueInfo,
    .setValueDenied, .tamperProtectionActive,
  ]

  /// Every bit with the driver's name, lowest first.
  package static let named: [(name: String, bit: RuleBits)] = [
    ("CreateKeyOperation", .createKeyOperation), ("RenameKeyOperation", .renameKeyOperation),
    ("DeleteKeyOperation", .deleteKeyOperation), ("SetValueKeyOperation", .setValueKeyOperation),
    ("SetValueRetrieveKeyValueInfo", .setValueRetrieveKeyValueInfo),
    ("DeleteValueKeyOperation", .deleteValueKeyOperation),
    ("DeleteValueRetrieveKeyValueInfo", .deleteValueRetrieveKeyValueInfo),
    ("RestoreKeyOperation", .restoreKeyOperation), ("ReplaceKeyOperation", .replaceKeyOperation),
    ("CreateDenied", .createDenied), ("RenameDenied", .renameDenied), ("DeleteDenied", .deleteDenied),
    ("SetValueDenied", .setValueDenied), ("ReplaceDenied", .replaceDenied), ("RestoreDenied", .restoreDenied),
    ("TamperProtectionActive", .tamperProtectionActive),
  ]

  /// The names of the bits that are set, lowest first; bits without a name in hexadecimal.
  package var names: [String] { bitNames(rawValue, Self.named.map { ($0.name, $0.bit.rawValue) }) }

  var deniesSomething: Bool { !isDisjoint(with: .anyDenied) }
}

/// What a process is (wdfilter.md 3.2).
package struct ProcessFlags: OptionSet, Hashable, Sendable {
  package let rawValue: UInt32

  package init(rawValue: UInt32) { self.rawValue = rawValue }

  package static let excluded = ProcessFlags(rawValue: 0x1)
  package static let msMpEng = ProcessFlags(rawValue: 0x8)
  package static let mpServiceSid = ProcessFlags(rawValue: 0x10)
  package static let friendly = ProcessFlags(rawValue: 0x20)
  package static let trusted = ProcessFlags(rawValue: 0x40)
  package static let msSeces = ProcessFlags(rawValue: 0x80)
  package static let svchost = ProcessFlags(rawValue: 0x100)
  package static let imageWow64cpuLoaded = ProcessFlags(rawValue: 0x200)
  package static let threadNotifyRoutineExSet = ProcessFlags(rawValue: 0x400)
  package static let processExplorer = ProcessFlags(rawValue: 0x800)

  /// Exempt from the hardening list. The driver's fourth, System, is nobody here: a request without a process is
  /// unknown.
  package static let exemptFromHardening: ProcessFlags = [.msMpEng, .friendly, .mpServiceSid]
  /// Exempt from the Denied bits of monitored keys.
  package static let exemptFromDenied: ProcessFlags = [.excluded, .friendly, .mpServiceSid]
  /// Flags that give rights: only these must rest on something that a caller cannot choose.
  package static let privileges: ProcessFlags = [.excluded, .msMpEng, .mpServiceSid, .friendly, .trusted]

  package static let named: [(name: String, bit: ProcessFlags)] = [
    ("Excluded", .excluded), ("MsMpEng", .msMpEng), ("MpServiceSid", .mpServiceSid), ("Friendly", .friendly),
    ("Trusted", .trusted), ("MsSeces", .msSeces), ("Svchost", .svchost), ("ImageWow64cpuLoaded", .imageWow64cpuLoaded),
    ("ThreadNotifyRoutineExSet", .threadNotifyRoutineExSet), ("ProcessExplorer", .processExplorer),
  ]

  package var names: [String] { bitNames(rawValue, Self.named.map { ($0.name, $0.bit.rawValue) }) }
}

/// What is to be done about a process (wdfilter.md 3.2); the bits without a name are kept as read.
package struct ProcessRules: OptionSet, Hashable, Sendable {
  package let rawValue: UInt32

  package init(rawValue: UInt32) { self.rawValue = rawValue }

  package static let allowAllRegistryOperations = ProcessRules(rawValue: 0x400)
  package static let notifyRegistryOperationSync = ProcessRules(rawValue: 0x200000)
  package static let notifyProcessCmdLine = ProcessRules(rawValue: 0x2000_0000)

  /// Makes a process trusted (MpUpdateProcessTrust); the driver's name for it is not known.
  static let trusts = ProcessRules(rawValue: 0x20)
  /// Rules that give rights, or make others believe in the process.
  package static let privileges: ProcessRules = [.allowAllRegistryOperations, .trusts]

  package static let named: [(name: String, bit: ProcessRules)] = [
    ("AllowAllRegistryOperations", .allowAllRegistryOperations),
    ("NotifyRegistryOperationSync", .notifyRegistryOperationSync), ("NotifyProcessCmdLine", .notifyProcessCmdLine),
  ]

  package var names: [String] { bitNames(rawValue, Self.named.map { ($0.name, $0.bit.rawValue) }) }
}

private func bitNames(_ word: UInt32, _ named: [(String, UInt32)]) -> [String] {
  var rest = word
  var names: [String] = []
  for (name, bit) in named where word & bit == bit {
    names.append(name)
    rest &= ~bit
  }
  if rest != 0 { names.append("0x" + String(rest, radix: 16, uppercase: true)) }
  return names
}
