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
    if case .alias(.directory, _) = node.kind { return fillDots(stream, node.id) }
    let key = try key(of: nodeID)
    do throws(NTStatus) {
      let own = Self.inode(try registry.query(key).identity)
      stream.append(inode: own, .directory) { $0.append(0x2E) }
      stream.append(inode: own, .directory) { $0.append(contentsOf: [0x2E, 0x2E]) }
      // How often each name came, upper-cased, so that twins and values hidden by keys get their suffix.
      var keys: [UnicodeName: Int] = [:]
      var values: [UnicodeName: Int] = [:]
      if presentation.showsCurrentControlSet, try registry.queryControlSet(of: key) != nil {
        keys[Self.currentControlSetName.upcased] = 1
        stream.append(inode: Self.inode(ofControlSetIn: try registry.query(key).identity), .link) {
          NameCodec.encode(Self.currentControlSetName, into: &$0)
        }
      }
      // Keys and values of one moment: who restores the key comes before both or after both.
      let lost = try registry.enumerate(
        key, by: caller, through: stream.object,
        keys: { name, identity, isLink in
          let ordinal = (keys[name.upcased] ?? 0) + 1
          keys[name.upcased] = ordinal
          stream.append(inode: Self.inode(identity), isLink ? .link : .directory) {
            NameCodec.encode(name, suffix: ordinal > 1 ? .twin(ordinal) : .none, into: &$0)
          }
        },
        values: { name, identity in
          let upper = name.upcased
          let ordinal = (values[upper] ?? 0) + 1
          values[upper] = ordinal
          let suffix: NameSuffix = ordinal > 1 ? .twin(ordinal) : keys[upper] != nil ? .value : .none
          stream.append(inode: Self.inode(identity), .file) {
            NameCodec.encode(name, suffix: suffix, into: &$0)
          }
        })
      // What cannot be read is seen by whoever lists the directory, and met by whoever copies it.
      for (offsets, kind) in [(lost.keys, .directory), (lost.values.subtracting(lost.keys), .file)] as [(Set<Int>, Attributes.Kind)] {
        for offset in offsets.sorted() {
          stream.append(inode: 1 << 41 + UInt64(offset), kind) { NameCodec.encode(lost: offset, into: &$0) }
        }
      }
      for (name, id) in inodes.pendingValues(of: key) where values[name.upcased] == nil {
        stream.append(inode: 1 << 40 + id, .file) {
          NameCodec.encode(name, suffix: keys[name.upcased] != nil ? .value : .none, into: &$0)
        }
      }
    } catch { throw Errno(error) }
  }

  private func fill(_ stream: DirectoryStream, of file: ControlFile) {
    fillDots(stream, file.nodeID)
    for file in ControlFile.files {
      stream.append(inode: file.nodeID, .file) { $0.append(contentsOf: file.name.utf8) }
    }
    for view in ControlView.all {
      // The look-up gives it its number.
      stream.append(inode: file.nodeID, .directory) { $0.append(contentsOf: view.name.utf8) }
    }
  }

  /// All that is listed in a view: it stands for the whole mount, and who walks it would save every key.
  private func fillDots(_ stream: DirectoryStream, _ inode: UInt64) {
    stream.append(inode: inode, .directory) { $0.append(0x2E) }
    stream.append(inode: inode, .directory) { $0.append(contentsOf: [0x2E, 0x2E]) }
  }
}
