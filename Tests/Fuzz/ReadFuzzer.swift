import Executive

@testable import HiveStorage

/// Parser, checker, dump, recovery, repair: a hive with its logs, as anybody may bring one.
@_cdecl("LLVMFuzzerTestOneInput")
func fuzzOneInput(_ data: UnsafePointer<UInt8>, _ size: Int) -> CInt {
  let input = FuzzInput(UnsafeRawBufferPointer(start: data, count: size))
  let looked = look(input)
  recover(input, looked)
  return 0
}

/// What a hive is, read as it lies or as its logs make it; nil for what is no hive. Nothing is written.
private func look(_ input: FuzzInput) -> (dump: [UInt8], isRecovered: Bool, isClean: Bool)? {
  let device = MemoryDevice(input.primary)
  let logs = input.logs.map { MemoryDevice($0) }
  guard let hive = try? Hive(device: device, access: .inspection, otherLogs: logs) else { return nil }
  let dump = HiveDump(hive)
  let checker = HiveChecker(hive)
  if checker.findings.isEmpty {
    require(dump.problems.isEmpty, "the checker finds nothing, the dump \(dump.problems)")
  }
  rewrite(hive, checker, dump)
  _ = try? hive.statistics()
  require(device.bytes == input.primary, "looking at a hive has changed it")
  require(logs.map(\.bytes) == input.logs, "looking at a hive has changed its logs")
  return (dump.bytes, hive.recovery != nil, checker.findings.isEmpty)
}

/// Recovery on the disk gives what recovery in memory gave, and a hive that needs none.
private func recover(_ input: FuzzInput, _ looked: (dump: [UInt8], isRecovered: Bool, isClean: Bool)?) {
  let device = MemoryDevice(input.primary)
  let logs = input.logs.map { MemoryDevice($0) }
  guard let hive = try? Hive(device: device, access: .readWrite, otherLogs: logs) else { return }
  require(looked != nil, "a hive that can be written cannot be read")
  require((hive.recovery != nil) == looked?.isRecovered, "recovered for one access and not for the other")
  require(HiveDump(hive).bytes == looked?.dump, "recovery on the disk and in memory differ")
  guard let again = try? Hive(device: MemoryDevice(device.bytes), access: .readOnly) else {
    return require(false, "a recovered hive cannot be opened")
  }
  require(again.recovery == nil, "a recovered hive needs another recovery")
  require(HiveDump(again).bytes == looked?.dump, "a recovered hive is another one when it is read again")
}

/// A clean hive without holes is the same hive; a repaired one is clean, or has not been made for a reason.
private func rewrite(_ hive: borrowing Hive, _ checker: HiveChecker, _ dump: HiveDump) {
  let device = MemoryDevice()
  do throws(HiveError) {
    let rewritten =
      checker.findings.isEmpty ? try hive.compact(to: device) : try hive.repair(to: device, after: checker)
    let again = try Hive(device: device, access: .readOnly)
    let second = HiveChecker(again)
    require(second.findings.isEmpty && second.orphans.isEmpty, "a rewritten hive is not clean: \(second.findings)")
    require(rewritten.keys == second.keys && rewritten.values == second.values, "what was written is something else")
    if checker.findings.isEmpty { require(HiveDump(again).bytes == dump.bytes, "a hive without holes is another hive") }
  } catch {
    require(!"\(error)".contains("as it would be written"), "\(error)")
    require(!checker.findings.isEmpty || hive.minorVersion < 3, "a clean hive cannot be rewritten: \(error)")
  }
}
