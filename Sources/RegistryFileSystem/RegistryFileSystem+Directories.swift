package import ConfigurationManager
internal import Executive

extension RegistryFileSystem {
  package func openDirectory(_ nodeID: UInt64, by caller: Caller) throws(Errno) -> DirectoryStream {
    guard let node = inodes.node(nodeID) else { throw .noEntry }
    if node.value != nil { throw .notDirectory }
    guard case .key(let key, _) = node.kind, registry.callbacks.isWatched(.preOpenKeyEx, .postOpenKeyEx) else {
      return DirectoryStream(nil)
    }
    do { return DirectoryStream(try registry.openKey(key, by: caller)) } catch { throw Errno(error) }
  }

  package func closeDirectory(_ stream: DirectoryStream, by caller: Caller) {
    if let object = stream.object { registry.closeKey(object, by: caller) }
  }

  /// Reads the directory's names anew, `.` and `..` first, then subkeys, then values.
  package func fill(_ stream: DirectoryStream, of nodeID: UInt64, by caller: Caller) throws(Errno) {
    stream.reset()
    guard let node = inodes.node(nodeID) else { throw .noEntry }
    if case .control(let file) = node.kind { return fill(stream, of: file) }
    let key = try key(of: nodeID)
    do throws(NTStatus) {
      let own = Self.inode(try registry.query(key).identity)
      stream.append(inode: own, .directory) { $0.append(0x2E) }
      stream.append(inode: own, .directory) { $0.append(contentsOf: [0x2E, 0x2E]) }
      // How often each name came, upper-cased, so that twins and values hidden by keys get their suffix.
      var keys: [UnicodeName: Int] = [:]
      let lostKeys = try registry.enumerateKeys(of: key, by: caller, through: stream.object) { name, identity, isLink in
        let ordinal = (keys[name.upcased] ?? 0) + 1
        keys[name.upcased] = ordinal
        stream.append(inode: Self.inode(identity), isLink ? .link : .directory) {
          NameCodec.encode(name, suffix: ordinal > 1 ? .twin(ordinal) : .none, into: &$0)
        }
      }
      var values: [UnicodeName: Int] = [:]
      let lostValues = try registry.enumerateValues(of: key, by: caller, through: stream.object) { value in
        let upper = value.name.upcased
        let ordinal = (values[upper] ?? 0) + 1
        values[upper] = ordinal
        let suffix = suffix(ofType: value.type, ordinal: ordinal, isHidden: keys[upper] != nil)
        stream.append(inode: Self.inode(value.identity), .file) {
          NameCodec.encode(value.name, suffix: suffix, into: &$0)
        }
      }
      // What cannot be read is seen by whoever lists the directory, and met by whoever copies it.
      for (lost, kind) in [(lostKeys, .directory), (lostValues.subtracting(lostKeys), .file)] as [(Set<Int>, Attributes.Kind)] {
        for offset in lost.sorted() {
          stream.append(inode: 1 << 41 + UInt64(offset), kind) { NameCodec.encode(lost: offset, into: &$0) }
        }
      }
      for (name, type, id) in inodes.pendingValues(of: key) where values[name.upcased] == nil {
        let suffix = suffix(ofType: type, ordinal: 1, isHidden: keys[name.upcased] != nil)
        stream.append(inode: 1 << 40 + id, .file) { NameCodec.encode(name, suffix: suffix, into: &$0) }
      }
    } catch { throw Errno(error) }
  }

  /// What a value is listed with; `isHidden`: a subkey has its name.
  private func suffix(ofType type: ValueType, ordinal: Int, isHidden: Bool) -> NameSuffix {
    if ordinal > 1 { return .twin(ordinal, isHiddenValue: isHidden) }
    return presentation.listsTypes ? .type(type) : isHidden ? .value : .none
  }

  private func fill(_ stream: DirectoryStream, of file: ControlFile) {
    stream.append(inode: file.nodeID, .directory) { $0.append(0x2E) }
    stream.append(inode: file.nodeID, .directory) { $0.append(contentsOf: [0x2E, 0x2E]) }
    for file in ControlFile.files {
      stream.append(inode: file.nodeID, .file) { $0.append(contentsOf: file.name.utf8) }
    }
  }
}
