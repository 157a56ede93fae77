import Executive

@testable import HiveStorage

/// Changes of a hive that is whole, or damaged: no trap, and nothing is worse afterwards.
@_cdecl("LLVMFuzzerTestOneInput")
func fuzzOneInput(_ data: UnsafePointer<UInt8>, _ size: Int) -> CInt {
  let input = FuzzInput(UnsafeRawBufferPointer(start: data, count: size))
  let device = MemoryDevice(input.primary)
  guard var hive = try? Hive(device: device, access: .readWrite, logs: LogPair(MemoryDevice(), MemoryDevice())) else { return 0 }
  let before = HiveChecker(hive)
  var script = input.script[...]
  while script.count >= FuzzInput.stepSize {
    let step = Array(script.prefix(FuzzInput.stepSize))
    script = script.dropFirst(FuzzInput.stepSize)
    do { try change(&hive, step) } catch { continue }
  }
  compare(before, HiveChecker(hive))
  let dump = HiveDump(hive).bytes
  guard (try? hive.commit()) != nil else { return 0 }
  guard let again = try? Hive(device: MemoryDevice(device.bytes), access: .readOnly) else {
    require(false, "what was committed cannot be opened")
    return 0
  }
  require(HiveDump(again).bytes == dump, "what was committed is not what was in memory")
  return 0
}

/// Damage that a change may meet without being told of it, and leave or move: none of it leads a reader astray.
private let harmless: Set<HiveFinding.Rule> = [
  .baseBlock, .baseFormat, .freeNeighbours, .keyFlags, .keyName, .listHint, .listUnused, .valueListUnused,
  .longestSubkeyName, .longestSubkeyClass, .longestValueName, .longestValueData, .linkTarget, .keyDepth,
]

/// A hive that was whole stays whole, and no cell of it is lost; in any hive, the cells go on covering the bins.
private func compare(_ before: HiveChecker, _ after: HiveChecker) {
  let rules = Set(before.findings.map(\.rule))
  let new = after.findings.filter { !rules.contains($0.rule) }
  if rules.isSubset(of: harmless) {
    let serious = new.filter { !harmless.contains($0.rule) }
    require(serious.isEmpty, "a change broke: \(serious.map { "\($0)" })")
  }
  if rules.isEmpty {
    require(after.findings.isEmpty, "a change broke: \(after.findings.map { "\($0)" })")
    require(after.orphans.count <= before.orphans.count, "a change lost cells: \(after.orphans)")
  }
  let cells = new.filter { [.binSignature, .binOffset, .binSize, .cellSize].contains($0.rule) }
  require(cells.isEmpty, "a change broke: \(cells.map { "\($0)" })")
}

/// One step of the script: what to do, which key, which name, how much data.
private func change(_ hive: inout Hive, _ step: [UInt8]) throws(HiveError) {
  // Found anew each time: a key that was deleted is nobody's any more.
  let keys = someKeys(hive)
  let key = keys[Int(step[1]) % keys.count]
  let name = names[Int(step[2]) % names.count]
  let time = FileTime(rawValue: UInt64(step[3]))
  switch step[0] % 10 {
  case 0:
    _ = try hive.createKey(
      under: key, named: name.units.span, className: step[3] & 1 == 0 ? nil : name, isLink: step[3] & 6 == 6, time: time)
  case 1: try hive.deleteKey(key, time: time)
  case 2: _ = try hive.renameKey(key, to: name.units.span, time: time)
  case 3:
    let data = [UInt8](repeating: step[3], count: sizes[Int(step[3]) % sizes.count])
    _ = try hive.setValue(of: key, named: name.units.span, type: .binary, data: data, time: time)
  case 4: try hive.deleteValue(of: key, value: someValue(of: key, Int(step[2]), hive), time: time)
  case 5:
    let value = try someValue(of: key, Int(step[3]), hive)
    _ = try hive.renameValue(of: key, value: value, to: name.units.span, time: time)
  case 6:
    guard let descriptor = try hive.securityDescriptor(ofKey: keys[Int(step[2]) % keys.count]) else { return }
    try hive.setSecurityDescriptor(ofKey: key, descriptor, time: time)
  case 7: try hive.setLastWriteTime(of: key, time)
  case 8:
    let saved = MemoryDevice()
    try hive.saveKey(keys[Int(step[2]) % keys.count], to: saved, time: time)
    let copy = try Hive(device: saved, access: .readOnly)
    try hive.restoreKey(key, from: copy, key: copy.rootKey, time: time)
  default: try hive.commit(time: time)
  }
}

private let names: [UnicodeName] = [
  "a", "A", "bb", "Kéy", "a longer name that needs another cell", "\u{100}\u{3b1}", "z", "m1", "m2", "m3", "",
  UnicodeName(String(repeating: "n", count: 255)), UnicodeName(String(repeating: "\u{4e00}", count: 200)), "x\\y",
]

private let sizes = [0, 1, 4, 5, 8, 100, 1000, 4092, 16344, 16345, 40_000]

/// The root and what is found first below it.
private func someKeys(_ hive: borrowing Hive) -> [CellIndex] {
  var keys = [hive.rootKey]
  var seen = Set(keys)
  var place = 0
  while place < keys.count, keys.count < 32 {
    try? hive.forEachSubkey(of: keys[place]) { _, child throws(HiveError) in
      if seen.insert(child).inserted { keys.append(child) }
      return keys.count < 32
    }
    place += 1
  }
  return keys
}

private func someValue(of key: CellIndex, _ number: Int, _ hive: borrowing Hive) throws(HiveError) -> CellIndex {
  var values: [CellIndex] = []
  try hive.forEachValue(of: key) { _, value throws(HiveError) in
    values.append(value)
    return values.count < 256
  }
  guard !values.isEmpty else { throw .keyNotFound }
  return values[number % values.count]
}
