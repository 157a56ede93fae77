internal import Synchronization

/// A device in memory, for tests and for hives that are made before they are written anywhere.
package final class MemoryDevice: HiveDevice {
  package let name: String
  private let contents: Mutex<[UInt8]>

  package init(name: String = "memory", _ bytes: [UInt8] = []) {
    self.name = name
    contents = Mutex(bytes)
  }

  package var bytes: [UInt8] { contents.withLock { $0 } }

  package func size() throws(HiveError) -> Int { contents.withLock { $0.count } }

  package func read(at offset: Int, into buffer: UnsafeMutableRawBufferPointer) throws(HiveError) {
    let isInside = contents.withLock { bytes in
      guard offset >= 0, offset + buffer.count <= bytes.count else { return false }
      bytes.withUnsafeBytes { contents in
        buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: contents[offset..<offset + buffer.count]))
      }
      return true
    }
    guard isInside else {
      throw .damaged(structure: "file", offset: offset, problem: "it ends before the \(buffer.count) bytes read there")
    }
  }

  package func write(_ data: UnsafeRawBufferPointer, at offset: Int) throws(HiveError) {
    precondition(offset >= 0)
    contents.withLock { bytes in
      if bytes.count < offset + data.count {
        bytes.append(contentsOf: [UInt8](repeating: 0, count: offset + data.count - bytes.count))
      }
      bytes.replaceSubrange(offset..<offset + data.count, with: data)
    }
  }

  package func resize(to size: Int) throws(HiveError) {
    contents.withLock { bytes in
      if size < bytes.count {
        bytes.removeLast(bytes.count - size)
      } else {
        bytes.append(contentsOf: [UInt8](repeating: 0, count: size - bytes.count))
      }
    }
  }

  package func sync() throws(HiveError) {}

  package func close() {}
}
