@main
struct MakeHiveSamples {
  static func main() {}
}
