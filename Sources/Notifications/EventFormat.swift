/// How a line tells an event.
package enum EventFormat: String, CaseIterable, Sendable {
  /// JSON, Elastic Common Schema with Sysmon's names beside; has everything.
  case ecs
  /// JSON as Windows' event log is exported, Sysmon's events and names.
  case sysmon
  /// The same as XML, an element a line.
  case sysmonXML = "sysmon-xml"
  /// JSON, Open Cybersecurity Schema Framework with its Windows extension.
  case ocsf
  /// JSON with the driver's own names, those of RegOperationMessage.
  case wdfilter
}
