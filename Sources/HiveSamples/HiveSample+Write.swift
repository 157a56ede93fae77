internal import Executive
package import HiveStorage

extension HiveSample {
  /// Makes `device` the sample's hive; what is on it goes.
  package func write(to device: any HiveDevice) throws(HiveError) {
    try Hive.format(device: device, minorVersion: minorVersion, descriptor: securityDescriptor, time: time)
    var hive = try Hive(device: device, access: .readWrite)
    for key in keys {
      var cell = hive.rootKey
      for name in key.path {
        if let existing = try hive.findSubkey(of: cell, named: name.units.span) {
          cell = existing
        } else {
          cell = try hive.createKey(under: cell, named: name.units.span, time: time)
        }
      }
      for value in key.values {
        _ = try hive.setValue(
          of: cell, named: value.name.units.span, type: value.value.type, data: value.value.data, time: time)
      }
    }
    try hive.commit(time: time)
  }
}
