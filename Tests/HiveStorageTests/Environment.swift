import Glibc

enum Environment {
  /// The number that an environment variable holds.
  static func number(_ name: String) -> Int? { getenv(name).flatMap { Int(String(cString: $0)) } }
}
