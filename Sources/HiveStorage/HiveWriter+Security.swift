package import Executive

// Security cells: shared by the keys with equal descriptors, all of them in one ring.

extension Hive {
  /// Gives the key another security descriptor, self-relative: the cell of an equal one that the hive has already, or a
  /// new one (NtSetSecurityObject).
  ///
  /// Throws `invalid` for bytes that are no descriptor, see `SecurityDescriptor`.
  package mutating func setSecurityDescriptor(
    ofKey key: CellIndex, _ bytes: [UInt8], time: FileTime
  ) throws(HiveError) {
    try SecurityDescriptor.check(bytes.span)
    try transaction { (hive) throws(HiveError) in
      let node = try hive.keyNode(at: key)
      let security = try bytes.span.withUnsafeBytes { (bytes) throws(HiveError) in try hive.shareSecurity(bytes) }
      hive.image.store(security, node.body, KeyNode.Field.security)
      try hive.releaseSecurity(node.security)
      hive.image.store(time.rawValue, node.body, KeyNode.Field.lastWritten)
    }
  }

  // MARK: Parts

  /// The cell of this descriptor, found or made, with one key more counted.
  mutating func shareSecurity(_ descriptor: UnsafeRawBufferPointer) throws(HiveError) -> CellIndex {
    // The root's cell is the head of the ring.
    let head = try keyNode(at: rootKey).security
    if head != .none, let equal = try findSecurity(descriptor, from: head) {
      try retainSecurity(equal)
      return equal
    }
    let cell = try allocate(SecurityCell.Field.descriptor + descriptor.count)
    image.store(Signature.security.rawValue, cell, 0)
    image.store(UInt32(1), cell, SecurityCell.Field.referenceCount)
    image.store(UInt32(descriptor.count), cell, SecurityCell.Field.descriptorSize)
    image.copy(descriptor, to: cell.start + SecurityCell.Field.descriptor)
    guard head != .none else {
      image.store(cell.index, cell, SecurityCell.Field.next)
      image.store(cell.index, cell, SecurityCell.Field.previous)
      return cell.index
    }
    let before = try image.security(at: head)
    let next = image.index(before.cell, SecurityCell.Field.next)
    let after = try image.security(at: next)
    image.store(next, cell, SecurityCell.Field.next)
    image.store(head, cell, SecurityCell.Field.previous)
    image.store(cell.index, before.cell, SecurityCell.Field.next)
    image.store(cell.index, after.cell, SecurityCell.Field.previous)
    return cell.index
  }

  /// The cell in the ring of `head` that holds this descriptor.
  private func findSecurity(
    _ descriptor: UnsafeRawBufferPointer, from head: CellIndex
  ) throws(HiveError) -> CellIndex? {
    var place = head
    repeat {
      let security = try image.security(at: place)
      if security.descriptorSize == descriptor.count,
        image.buffer(at: security.cell.start + SecurityCell.Field.descriptor, count: descriptor.count)
          .elementsEqual(descriptor)
      {
        return place
      }
      let next = image.index(security.cell, SecurityCell.Field.next)
      // A ring that can be walked back as well leads to its head again, whatever else is damaged.
      guard try image.index(image.security(at: next).cell, SecurityCell.Field.previous) == place else {
        throw .damaged(structure: "security cell", offset: next.fileOffset, problem: "the ring is broken here")
      }
      place = next
    } while place != head
    return nil
  }

  /// One key more refers to the security cell.
  mutating func retainSecurity(_ index: CellIndex) throws(HiveError) {
    let security = try image.security(at: index)
    let count = image.load(UInt32.self, security.cell, SecurityCell.Field.referenceCount)
    guard count < UInt32.max else { throw .limit(problem: "keys that share a security descriptor") }
    // A count of 0 on a cell in use is damage: one too many keeps the cell when this key goes again.
    image.store(max(2, count + 1), security.cell, SecurityCell.Field.referenceCount)
  }

  /// One key less refers to it; the last one takes it out of the ring.
  mutating func releaseSecurity(_ index: CellIndex) throws(HiveError) {
    // A key without security, or a count that was wrong before, is no reason to keep the key.
    guard index != .none, let security = try? image.security(at: index) else { return }
    let count = image.load(UInt32.self, security.cell, SecurityCell.Field.referenceCount)
    guard count > 0 else { return }
    image.store(count - 1, security.cell, SecurityCell.Field.referenceCount)
    guard count == 1 else { return }
    let next = image.index(security.cell, SecurityCell.Field.next)
    let previous = image.index(security.cell, SecurityCell.Field.previous)
    let after = try image.security(at: next)
    let before = try image.security(at: previous)
    guard next != index, image.index(after.cell, SecurityCell.Field.previous) == index,
      image.index(before.cell, SecurityCell.Field.next) == index
    else {
      throw .damaged(structure: "security cell", offset: index.fileOffset, problem: "the ring is broken here")
    }
    image.store(previous, after.cell, SecurityCell.Field.previous)
    image.store(next, before.cell, SecurityCell.Field.next)
    try free(index, "security cell")
  }
}
