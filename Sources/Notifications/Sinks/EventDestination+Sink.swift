extension EventDestination {
  /// The sink that it names. Files are opened now; sockets when the first event comes, so that a receiver may come later.
  package func sink(_ encoder: EventEncoder) throws(FileSink.OpenError) -> any NotificationSink {
    let encoder = format.map { encoder.encoding($0) } ?? encoder
    switch place {
    case .file(let path): return try FileSink(path: path, encoder: encoder)
    case .standardError: return try FileSink(standardErrorBy: encoder)
    case .journal(let socket):
      return SocketSink(name: text, to: .datagram(path: socket), .journal, encoder: encoder)
    case .syslog(let address): return SocketSink(name: text, to: address, .syslog, encoder: encoder)
    case .socket(let path): return SocketSink(name: text, to: .sequenced(path: path), .plain, encoder: encoder)
    }
  }
}
