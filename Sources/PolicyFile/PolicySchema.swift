/// The JSON Schema of policies (draft 2020-12), for editors; it says less than the reader, which knows what keys and
/// executables there are.
package enum PolicySchema {
  package static var text: String { String(decoding: PackageResources.policy_schema_json, as: UTF8.self) }
}
