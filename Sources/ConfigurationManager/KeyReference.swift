package import Executive

/// A key in use, as an operation names it: its number, unique while mounted, its complete name at the moment of the operation, as
/// in `\REGISTRY\MACHINE\SYSTEM\ControlSet001\Services\WinDefend`, and the key object that it came through, if it came through one.
package struct KeyReference: Hashable, Sendable {
  package let id: UInt64
  package let completeName: UnicodeName
  package let object: KeyObject?

  package init(id: UInt64, completeName: UnicodeName, object: KeyObject? = nil) {
    self.id = id
    self.completeName = completeName
    self.object = object
  }
}
