package import ConfigurationManager
internal import Executive

extension RegistryFileSystem {
  package func openDirectory(_ nodeID: UInt64, by caller: Caller) throws(Errno) -> DirectoryStream {
    guard let node = inodes.node(nodeID) else { throw .noEntry }
    if node.value != nil { throw .notDirectory }
    guard case .key(let key, _) = node.kind else { return DirectoryStream(nil, .none) }
    var object: KeyObject?
    if registry.callbacks.isWatched(.preOpenKeyEx, .postOpenKeyEx) {
      do { object = try registry.openKey(key, by: caller) } catch { throw Errno(error) }
    }
    let stream = DirectoryStream(object, listingCache(of: node, key))
    // The kernel may have the beginning of the listing from another open directory, and ask this one for the rest alone: that is where it was
    // then, and not where what has been deleted since has moved it.
    if stream.caching != .none { try? fill(stream, of: nodeID, by: caller) }
    return stream
  }

  package func closeDirectory(_ stream: DirectoryStream, by caller: Caller) {
    if let object = stream.object { registry.closeKey(object, by: caller) }
  }

  /// Whether what a process lists should carry the look-ups of its keys (or links), or of its values.
  package func listsLookUps(of kind: Attributes.Kind, for caller: Caller) -> Bool {
    habits.expects(kind, by: caller.threadID)
  }

  /// The look-up of what stands at `index` of a directory that was read; nil when it is gone. One look-up more on its node.
  package func lookUp(entryAt index: Int, of stream: DirectoryStream, in directory: UInt64) -> Entry? {
    if let found = try? numbered(stream, index, in: directory) {
      return found
    }
    // Made since, with a suffix, or damaged: by its name, as any other.
    return stream.withEntry(at: index) { try? lookUp($1, in: directory) } ?? nil
  }

  private func numbered(_ stream: DirectoryStream, _ index: Int, in directory: UInt64) throws(Errno) -> Entry? {
    guard let listed = stream.withEntry(at: index, { entry, _ in entry }), listed.identity != 0, let changes = stream.listing?.changes
    else { return nil }
    guard let directory = inodes.node(directory), case .key(let key, isLink: false) = directory.kind else { throw .notDirectory }
    var question = ValueQuestion(in: directory, of: key, view: presentation.view)
    var entry: Entry?
    let found: (node: Node, information: KeyInformation?)??
    do throws(NTStatus) {
      found = try registry.lookUp(
        numbered: listed.identity, isValue: listed.kind == .file, in: key, unchangedSince: changes,
        isRead: ValueQuestion.isShort, piece: { question.add($1, of: $0) }
      ) { object in
        switch object {
        case .key(let child, let information): return (inodes.remember(child, isLink: information.isLink), information)
        case .value(let value, let time):
          entry = answer(question, value, time, ordinal: 1, isRaw: false, isExactSpelling: true)
          return entry == nil ? (inodes.remember(value, ordinal: 1, of: key, isRaw: false), nil) : nil
        }
      }
    } catch { throw Errno(error) }
    if let entry { return entry }
    guard let (node, information) = found ?? nil else { return nil }
    do throws(Errno) {
      return Entry(
        nodeID: node.id, generation: node.generation, attributes: try attributes(of: node, key: information),
        isExactSpelling: true)
    } catch {
      inodes.forget(node.id, count: 1)
      throw error
    }
  }

  /// Reads the directory's names anew, `.` and `..` first, then subkeys, then values.
  package func fill(_ stream: DirectoryStream, of nodeID: UInt64, by caller: Caller) throws(Errno) {
    stream.fill(with: try listing(of: nodeID, through: stream.object, by: caller))
  }

  private func listing(of nodeID: UInt64, through object: KeyObject?, by caller: Caller) throws(Errno) -> Listing {
    guard let node = inodes.node(nodeID) else { throw .noEntry }
    if case .control(let file) = node.kind { return listing(of: file) }
    if case .alias(.directory, _) = node.kind { return dots(node.id) }
    let key = try key(of: nodeID)
    var listing = Listing()
    // Before the first name: a change in between makes every look-up one by name.
    listing.changes = registry.changeCount(of: key)
    do throws(NTStatus) {
      let own = Self.inode(try registry.query(key).identity)
      listing.append(inode: own, .directory) { $0.append(0x2E) }
      listing.append(inode: own, .directory) { $0.append(contentsOf: [0x2E, 0x2E]) }
      // So that twins and values hidden by keys get their suffix.
      var keys = NameCounts()
      var values = NameCounts()
      if presentation.showsCurrentControlSet, try registry.queryControlSet(of: key) != nil {
        _ = keys.add(Self.currentControlSetName)
        listing.append(inode: Self.inode(ofControlSetIn: try registry.query(key).identity), .link) {
          NameCodec.encode(Self.currentControlSetName, into: &$0)
        }
      }
      // Keys and values of one moment: who restores the key comes before both or after both.
      let lost = try registry.enumerate(
        key, by: caller, through: object,
        keys: { name, identity, isLink in
          let ordinal = keys.add(name)
          listing.append(inode: Self.inode(identity), isLink ? .link : .directory, identity: ordinal > 1 ? 0 : identity) {
            NameCodec.encode(name, suffix: ordinal > 1 ? .twin(ordinal) : .none, into: &$0)
          }
        },
        values: { value in
          let ordinal = values.add(value.name)
          let isHidden = keys.contains(value.name) || suffixed.contains(value.name, of: key)
          let suffix = suffix(ofType: value.type, ordinal: ordinal, isHidden: isHidden)
          listing.append(inode: Self.inode(value.identity), .file, identity: suffix == .none ? value.identity : 0) {
            NameCodec.encode(value.name, suffix: suffix, into: &$0)
          }
        })
      // What cannot be read is seen by whoever lists the directory, and met by whoever copies it.
      for (offsets, kind) in [(lost.keys, .directory), (lost.values.subtracting(lost.keys), .file)] as [(Set<Int>, Attributes.Kind)] {
        for offset in offsets.sorted() {
          listing.append(inode: 1 << 41 + UInt64(offset), kind) { NameCodec.encode(lost: offset, into: &$0) }
        }
      }
      for (name, type, id) in inodes.unsavedValues(of: key) where !values.contains(name) {
        let isHidden = keys.contains(name) || suffixed.contains(name, of: key)
        // One that nobody has given a type has none to be listed with.
        let suffix = type.map { self.suffix(ofType: $0, ordinal: 1, isHidden: isHidden) } ?? (isHidden ? NameSuffix.value : .none)
        listing.append(inode: 1 << 40 + id, .file) { NameCodec.encode(name, suffix: suffix, into: &$0) }
      }
    } catch { throw Errno(error) }
    return listing
  }

  /// What a value is listed with; `isHidden`: a subkey has its name.
  private func suffix(ofType type: ValueType, ordinal: Int, isHidden: Bool) -> NameSuffix {
    if ordinal > 1 { return .twin(ordinal, isHiddenValue: isHidden) }
    return presentation.listsTypes ? .type(type) : isHidden ? .value : .none
  }

  private func listing(of file: ControlFile) -> Listing {
    var listing = dots(file.nodeID)
    for file in ControlFile.files {
      listing.append(inode: file.nodeID, .file) { $0.append(contentsOf: file.name.utf8) }
    }
    for view in ControlView.all {
      // The look-up gives it its number.
      listing.append(inode: file.nodeID, .directory) { $0.append(contentsOf: view.name.utf8) }
    }
    return listing
  }

  /// All that is listed in a view: it stands for the whole mount, and who walks it would save every key.
  private func dots(_ inode: UInt64) -> Listing {
    var listing = Listing()
    listing.append(inode: inode, .directory) { $0.append(0x2E) }
    listing.append(inode: inode, .directory) { $0.append(contentsOf: [0x2E, 0x2E]) }
    return listing
  }
}
