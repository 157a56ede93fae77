internal import CFuse3
internal import Executive
internal import Glibc
internal import RegistryFileSystem

/// The functions that libfuse calls, on threads of its own. Each does three things: take the request, ask the file system,
/// answer.
///
/// Left out, so that the kernel does it itself or says ENOSYS once: access, lseek, fallocate,
/// copy_file_range, locks, poll, bmap, readdirplus.
enum OperationTable {
  static func make() -> fuse_lowlevel_ops {
    var table = fuse_lowlevel_ops()
    table.`init` = { userData, connection in
      guard let userData, let connection else { return }
      // SAFETY: as in `Request.init`.
      let session = Unmanaged<MountedSession>.fromOpaque(userData).takeUnretainedValue()
      // FUSE_NOTIFY_INC_EPOCH came with 7.44.
      if connection.pointee.proto_minor < 44 { session.notifier.forbidCachedNames() }
    }
    addNames(to: &table)
    addFiles(to: &table)
    addDirectories(to: &table)
    addAttributes(to: &table)
    return table
  }

  private static func addNames(to table: inout fuse_lowlevel_ops) {
    table.lookup = { request, parent, name in
      Request.serve(request) { fileSystem, request throws(Errno) in
        .entry(try fileSystem.lookUp(try required(name), in: parent, by: request.caller))
      }
    }
    table.forget = { request, nodeID, count in
      guard let request = Request(request) else { return }
      request.session.fileSystem.forget(nodeID, count: count)
      request.replyNothing()
    }
    table.forget_multi = { request, count, forgets in
      guard let request = Request(request) else { return }
      for forget in UnsafeBufferPointer(start: forgets, count: forgets == nil ? 0 : count) {
        request.session.fileSystem.forget(forget.ino, count: forget.nlookup)
      }
      request.replyNothing()
    }
    table.mkdir = { request, parent, name, _ in
      Request.serve(request) { fileSystem, request throws(Errno) in
        .entry(try fileSystem.makeDirectory(try required(name), in: parent, by: request.caller))
      }
    }
    table.rmdir = { request, parent, name in
      Request.serve(request) { fileSystem, request throws(Errno) in
        try fileSystem.removeDirectory(try required(name), in: parent, by: request.caller)
        return .success()
      }
    }
    table.unlink = { request, parent, name in
      Request.serve(request) { fileSystem, request throws(Errno) in
        try fileSystem.unlink(try required(name), in: parent, by: request.caller)
        return .success()
      }
    }
    table.rename = { request, parent, name, newParent, newName, flags in
      Request.serve(request) { fileSystem, request throws(Errno) in
        .success(
          stalePages: try fileSystem.rename(
            try required(name), in: parent, to: try required(newName), in: newParent, flags: flags,
            by: request.caller))
      }
    }
    table.readlink = { request, nodeID in
      Request.serve(request) { fileSystem, _ throws(Errno) in .target(try fileSystem.target(of: nodeID)) }
    }
    table.mknod = { request, parent, name, mode, _ in
      Request.serve(request) { fileSystem, request throws(Errno) in
        .entry(try fileSystem.makeNode(try required(name), in: parent, mode: mode, by: request.caller))
      }
    }
    table.symlink = { request, _, _, _ in refuse(request, .notPermitted) }
    table.link = { request, _, _, _ in refuse(request, .notPermitted) }
  }

  private static func addFiles(to table: inout fuse_lowlevel_ops) {
    table.create = { request, parent, name, _, info in
      Request.serve(request, info: info) { fileSystem, request throws(Errno) in
        let created = try fileSystem.create(
          try required(name), in: parent, flags: info?.pointee.flags ?? 0, by: request.caller)
        return .created(created.entry, created.file)
      }
    }
    table.open = { request, nodeID, info in
      Request.serve(request, info: info) { fileSystem, request throws(Errno) in
        let opened = try fileSystem.open(nodeID, flags: info?.pointee.flags ?? 0, by: request.caller)
        return .opened(opened.file, keepsCache: opened.keepsCache)
      }
    }
    table.read = { request, _, size, offset, info in
      if let request, let events = (try? FileHandle.file(info))?.events {
        Request(request)?.answerLater { session, handle in session.waitingReads.serve(handle, events, size: size) }
        return
      }
      Request.serve(request) { fileSystem, request throws(Errno) in
        .bytes(try fileSystem.read(try FileHandle.file(info), offset: offset, size: size, by: request.caller))
      }
    }
    table.write = { request, _, bytes, size, offset, info in
      Request.serve(request) { fileSystem, request throws(Errno) in
        let buffer = UnsafeRawBufferPointer(start: bytes, count: bytes == nil ? 0 : size)
        try fileSystem.write(try FileHandle.file(info), buffer, offset: offset, by: request.caller)
        return .written(buffer.count)
      }
    }
    table.flush = { request, _, info in
      Request.serve(request) { fileSystem, request throws(Errno) in
        .success(stalePages: try fileSystem.flush(try FileHandle.file(info), by: request.closer))
      }
    }
    table.release = { request, _, info in
      Request.serve(request) { fileSystem, _ throws(Errno) in
        fileSystem.release(try FileHandle.takeFile(info))
        return .success()
      }
    }
    table.fsync = { request, nodeID, _, info in
      Request.serve(request) { fileSystem, request throws(Errno) in
        // What the handle has written counts as written once fsync returns.
        let stalePages = try fileSystem.flush(try FileHandle.file(info), by: request.caller)
        try fileSystem.sync(nodeID, by: request.caller)
        return .success(stalePages: stalePages)
      }
    }
    table.ioctl = { request, _, _, _, _, _, _, _, _ in refuse(request, Errno(rawValue: ENOTTY)) }
  }

  private static func addDirectories(to table: inout fuse_lowlevel_ops) {
    table.opendir = { request, nodeID, info in
      Request.serve(request, info: info) { fileSystem, request throws(Errno) in
        .openedDirectory(try fileSystem.openDirectory(nodeID, by: request.caller))
      }
    }
    table.readdir = { request, nodeID, size, offset, info in
      Request.serve(request) { fileSystem, request throws(Errno) in
        let stream = try FileHandle.directory(info)
        // From the start, also after rewinddir: as it is now.
        if offset == 0 || !stream.isFilled { try fileSystem.fill(stream, of: nodeID, by: request.caller) }
        return .listing(stream, directory: nil, position: try stream.position(ofOffset: offset), size: size)
      }
    }
    // The kernel asks for this one first, and again while its callers ask for attributes; not at all for a listing that it keeps.
    table.readdirplus = { request, nodeID, size, offset, info in
      Request.serve(request) { fileSystem, request throws(Errno) in
        let stream = try FileHandle.directory(info)
        if offset == 0 || !stream.isFilled { try fileSystem.fill(stream, of: nodeID, by: request.caller) }
        return .listing(stream, directory: nodeID, position: try stream.position(ofOffset: offset), size: size)
      }
    }
    table.releasedir = { request, _, info in
      Request.serve(request) { fileSystem, request throws(Errno) in
        fileSystem.closeDirectory(try FileHandle.takeDirectory(info), by: request.caller)
        return .success()
      }
    }
    table.fsyncdir = { request, nodeID, _, _ in
      Request.serve(request) { fileSystem, request throws(Errno) in
        try fileSystem.sync(nodeID, by: request.caller)
        return .success()
      }
    }
    table.statfs = { request, nodeID in
      Request.serve(request) { fileSystem, _ throws(Errno) in
        .space(fileSystem.space(of: nodeID))
      }
    }
  }

  private static func addAttributes(to table: inout fuse_lowlevel_ops) {
    table.getattr = { request, nodeID, _ in
      Request.serve(request) { fileSystem, _ throws(Errno) in
        .attributes(try fileSystem.attributes(of: nodeID))
      }
    }
    table.setattr = { request, nodeID, wanted, which, info in
      Request.serve(request) { fileSystem, request throws(Errno) in
        guard let wanted = wanted?.pointee else { throw .invalid }
        // Owner and permissions are accepted without effect, as vfat's `quiet` does.
        let size = which & FUSE_SET_ATTR_SIZE != 0 ? wanted.st_size : nil
        var modified: FileTime?
        if which & FUSE_SET_ATTR_MTIME_NOW != 0 {
          modified = .now()
        } else if which & FUSE_SET_ATTR_MTIME != 0 {
          modified = FileTime(seconds: Int64(wanted.st_mtim.tv_sec), nanoseconds: Int64(wanted.st_mtim.tv_nsec))
        }
        let file = info == nil ? nil : try FileHandle.file(info)
        let changed = try fileSystem.setAttributes(
          of: nodeID, file: file, size: size, modified: modified, by: request.caller)
        return .attributes(changed.attributes, stalePages: changed.stalePages)
      }
    }
    table.getxattr = { request, nodeID, name, size in
      Request.serve(request) { fileSystem, request throws(Errno) in
        .attribute(try fileSystem.getAttribute(try required(name), of: nodeID, by: request.caller), size: size)
      }
    }
    table.listxattr = { request, nodeID, size in
      Request.serve(request) { fileSystem, _ throws(Errno) in
        .attribute(try fileSystem.listAttributes(of: nodeID), size: size)
      }
    }
    table.setxattr = { request, nodeID, name, value, size, flags in
      Request.serve(request) { fileSystem, request throws(Errno) in
        let data = UnsafeRawBufferPointer(start: value, count: value == nil ? 0 : size)
        return .success(
          stalePages: try fileSystem.setAttribute(
            try required(name), to: data, flags: flags, of: nodeID, by: request.caller))
      }
    }
    table.removexattr = { request, nodeID, name in
      Request.serve(request) { fileSystem, request throws(Errno) in
        .success(stalePages: try fileSystem.removeAttribute(try required(name), of: nodeID, by: request.caller))
      }
    }
  }
}

// Free functions: a C function pointer cannot be made of a closure that captures `Self`.

private func refuse(_ request: fuse_req_t?, _ error: Errno) { Request(request)?.reply(error) }

private func required(_ name: UnsafePointer<CChar>?) throws(Errno) -> UnsafePointer<CChar> {
  guard let name else { throw .invalid }
  return name
}
