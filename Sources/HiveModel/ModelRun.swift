package import HiveStorage

/// The operations of a seed, one after the other, done to a model, and to a hive that must do the same.
///
/// The same seed and profile give the same operations at the same times in every process, so a run can be gone on with
/// where another one was broken off.
package struct ModelRun {
  /// What kind of operations are drawn.
  package struct Profile: Sendable {
    package enum Names: String, Sendable, CaseIterable {
      /// Unpaired surrogates, NULs, names of the longest, dots and slashes among them.
      case every
      /// What every independent reader can read.
      case readable
    }

    package var minorVersion: Int
    package var names: Names
    /// Keys that the hive grows to, about.
    package var keyCount: Int
    /// Bytes of a value's data, but for a value that is refused.
    package var longestData: Int

    package init(minorVersion: Int, names: Names = .every, keyCount: Int = 3000, longestData: Int = 100_000) {
      self.minorVersion = minorVersion
      self.names = names
      self.keyCount = keyCount
      self.longestData = longestData
    }
  }

  package let seed: UInt64
  package private(set) var model: RegistryModel
  /// Operations done, the refused ones too.
  package private(set) var count = 0
  package private(set) var refusals: [ModelRefusal: Int] = [:]
  private var generator: OperationGenerator

  package init(seed: UInt64, profile: Profile) {
    self.seed = seed
    model = RegistryModel(minorVersion: profile.minorVersion)
    generator = OperationGenerator(seed: seed, profile: profile)
  }

  /// The next operation, done to the model alone.
  @discardableResult
  package mutating func advance() -> ModelOperation {
    let operation = generator.next(for: model)
    count += 1
    note(model.apply(operation, at: RegistryModel.time(count)))
    return operation
  }

  private mutating func note(_ refusal: ModelRefusal?) {
    if let refusal { refusals[refusal, default: 0] += 1 }
  }

  /// The next operation, done to `hive`, and to the model when the hive's device did not fail.
  ///
  /// Throws with the device's error when it did: the hive must be as it was, and the operation counts as never asked
  /// for. Throws without one when the hive refuses what the model does, or the other way round.
  package mutating func advance(_ hive: inout Hive) throws(ModelFailure) {
    let operation = generator.next(for: model)
    let time = RegistryModel.time(count + 1)
    var refusal: ModelRefusal?
    do throws(HiveError) {
      try hive.perform(operation, of: model, at: time)
    } catch {
      guard let reason = ModelRefusal(error) else {
        throw ModelFailure(seed: seed, number: count + 1, operation: operation, error: error)
      }
      refusal = reason
    }
    count += 1
    let expected = model.apply(operation, at: time)
    note(expected)
    guard refusal == expected else {
      throw ModelFailure(
        seed: seed, number: count, operation: operation, error: nil,
        problem: "the hive says \(refusal.map { "\($0)" } ?? "done"), the model \(expected.map { "\($0)" } ?? "done")")
    }
  }

  /// Lines that only the model has (-) and only the hive has (+), some of each; nil when the two hold the same.
  package func difference(from hive: borrowing Hive) -> String? {
    let (wanted, found) = (ModelDump(model.root).bytes, HiveDump(hive).bytes)
    return wanted == found ? nil : "seed \(seed), operation \(count):\n" + Self.difference(wanted, found)
  }

  static func difference(_ wanted: [UInt8], _ found: [UInt8]) -> String {
    let (wanted, found) = (Set(wanted.split(separator: 10)), Set(found.split(separator: 10)))
    func lines(_ lines: Set<ArraySlice<UInt8>>, _ mark: String) -> String {
      lines.prefix(5).map { "\(mark) \(String(decoding: $0, as: UTF8.self))\n" }.joined()
    }
    return lines(wanted.subtracting(found), "-") + lines(found.subtracting(wanted), "+")
  }
}
