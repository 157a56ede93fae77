/// The JSON Schema of a line of the format `ecs` (draft 2020-12).
package enum EventSchema {
  package static var text: [UInt8] { PackageResources.event_schema_json }
}
