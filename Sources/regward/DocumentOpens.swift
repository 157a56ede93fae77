internal import ConfigurationManager
internal import Executive
internal import RegistryFileSystem
internal import WdFilter

/// The file system says what is opened, the filter knows whose business it is.
extension DocumentOpenMonitor: OpenWatcher {}
