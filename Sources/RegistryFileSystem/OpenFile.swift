internal import ConfigurationManager
internal import Executive
internal import Synchronization

/// One open file: what it has read, what it wants to set, and by which leave.
package final class OpenFile: Sendable {
  struct State: ~Copyable {
    /// The text: of the value for a reader, as changed so far for a writer. Nil until it is needed.
    var text: [UInt8]?
    /// The node's generation that `text` was taken from.
    var generation: UInt64 = 0
    /// Written since the last set.
    var hasWritten = false
    /// Emptied at open or just created, and nothing written yet: set at release, when nobody can be asked any more, by
    /// `admission`.
    var isBare = false
    var admission: Admission?
    /// The directory whose `closingHandles` this is one of.
    var closingIn: Node?
    /// A write failed: nothing of this handle is set, the old value stands.
    var failure: Errno?
    /// The type that the name it was opened by asks for; nil: the value's own.
    var type: ValueType?
  }

  let node: Node
  /// What the value was when it was opened, if it was not in the hive then: its text is this handle's, too.
  let unsaved: UnsavedValue?
  /// What the handle reads and writes; a value that is made as `NAME%raw` has the bytes here and its text in other handles.
  let view: ValueView
  let isWritable: Bool
  let appends: Bool
  /// Every read is judged: the kernel must ask for each.
  private let isJudged: Bool
  let opener: Caller
  let state: Mutex<State>
  let control: ControlSession?
  let session: ViewSession?
  /// Read through this alone.
  package let events: EventSession?

  init(
    node: Node, view: ValueView, unsaved: UnsavedValue? = nil, isWritable: Bool, appends: Bool, isJudged: Bool = false, opener: Caller,
    state: consuming sending State, control: ControlSession? = nil, session: ViewSession? = nil,
    events: EventSession? = nil
  ) {
    self.view = view
    self.node = node
    self.session = session
    self.events = events
    self.unsaved = unsaved
    self.isWritable = isWritable
    self.appends = appends
    self.isJudged = isJudged
    self.opener = opener
    self.state = Mutex(state)
    self.control = control
  }

  /// Answers differ from read to read: the kernel must not keep them.
  /// Of a value's two views only one has pages in the kernel, so that a change drops those of one node.
  package var needsDirectIO: Bool {
    isWritable || isJudged || control != nil || session != nil || events != nil || unsaved != nil || node.isRawView
  }
}
