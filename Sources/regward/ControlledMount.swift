internal import Executive
internal import Notifications
internal import PolicyFile
internal import ProcessTable
internal import WdFilter

/// What messages reach of a mount.
struct ControlledMount: Sendable {
  let sync: SyncChannel
  let processes: ProcessTable
  /// Of the rules in force.
  let version: @Sendable () -> UInt64
  let statistics: @Sendable () -> JSONValue
  /// Puts a policy in force: that of the mount, or the one at a path.
  let update: @Sendable (String?) throws(PolicyError) -> RulesInForce.Update
  /// Puts something beside the policy; the new version.
  let amend: @Sendable (Amendment) throws(PolicyError) -> UInt64
  /// Takes what is to stand in the log.
  let audit: @Sendable (ControlEvent) -> Void
  /// What events are read from.
  var events: NotificationQueue? = nil
  /// In the default format.
  var encoder = EventEncoder()
}
