extension Hive {
  /// A quick look at what has to hold before anything may be changed: that the file has the bins that the base block
  /// tells of, that bins and cells cover them exactly, and that there is a root. Every cell's size is read, and nothing
  /// else of them: `HiveChecker` looks at all the rest.
  ///
  /// Throws `damaged`.
  package func checkStructure() throws(HiveError) {
    let size = Int(baseSector[BaseBlock.Field.binsSize])
    guard hasUncommittedChanges || size == image.binsSize && size > 0 && size % HiveImage.pageSize == 0 else {
      throw .damaged(
        structure: "base block", offset: BaseBlock.Field.binsSize,
        problem: "\(size) bytes of hive bins do not match a file that has \(image.binsSize)")
    }
    try image.walkCells { _, _, _ in }
    _ = try keyNode(at: rootKey)
  }
}
