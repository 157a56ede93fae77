// swift-tools-version: 6.2
import PackageDescription

let settings: [SwiftSetting] = [
  .swiftLanguageMode(.v6),
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("InternalImportsByDefault"),
  .enableUpcomingFeature("MemberImportVisibility"),
  .enableExperimentalFeature("Lifetimes"),
  .treatAllWarnings(as: .error),
]

/// The arrows of ARCHITECTURE.md; `ArchitectureTests` compares the imports of every file with them.
let package = Package(
  name: "regward",
  products: [.executable(name: "regward", targets: ["regward"])],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
  ],
  targets: [
    .target(name: "Executive", swiftSettings: settings),
    .target(name: "HiveStorage", dependencies: ["Executive"], swiftSettings: settings),
    .target(
      name: "ConfigurationManager", dependencies: ["Executive", "HiveStorage"],
      swiftSettings: settings),
    .target(name: "ProcessTable", dependencies: ["Executive"], swiftSettings: settings),
    .target(name: "Sigma", dependencies: ["Executive"], swiftSettings: settings),
    .target(
      name: "Notifications", dependencies: ["Executive", "Sigma"], resources: [.embedInCode("event.schema.json")],
      swiftSettings: settings),
    .target(
      name: "WdFilter",
      dependencies: ["Executive", "ConfigurationManager", "ProcessTable", "Sigma", "Notifications"],
      swiftSettings: settings),
    .target(
      name: "PolicyFile", dependencies: ["Notifications", "Sigma", "WdFilter", .product(name: "Yams", package: "Yams")],
      resources: [.embedInCode("policy.schema.json")],
      swiftSettings: settings),
    .target(
      name: "RegistryFileSystem", dependencies: ["Executive", "ConfigurationManager"],
      swiftSettings: settings),
    .target(name: "RegFile", dependencies: ["Executive"], swiftSettings: settings),
    .systemLibrary(
      name: "CFuse3", pkgConfig: "fuse3",
      providers: [.apt(["libfuse3-dev", "fuse3", "pkg-config"])]),
    .target(
      name: "FUSEServer",
      dependencies: ["CFuse3", "Executive", "ConfigurationManager", "RegistryFileSystem"],
      swiftSettings: settings),
    .systemLibrary(name: "CMalloc"),
    .executableTarget(
      name: "regward",
      dependencies: [
        "CMalloc",
        "Executive", "HiveStorage", "ConfigurationManager", "ProcessTable", "Sigma", "Notifications",
        "WdFilter", "PolicyFile", "RegistryFileSystem", "RegFile", "FUSEServer",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ],
      swiftSettings: settings),
    .target(name: "HiveSamples", dependencies: ["Executive", "HiveStorage"], swiftSettings: settings),
    .executableTarget(
      name: "make-hive-samples", dependencies: ["HiveSamples", "HiveStorage"], swiftSettings: settings),
    // What the gate measures (mount-scripts/bench-costs): no packages of others, so it is built like everything else.
    .target(
      name: "BenchmarkRules", dependencies: ["Executive", "ConfigurationManager", "ProcessTable", "WdFilter"],
      path: "Benchmarks/BenchmarkRules", swiftSettings: settings),
    .executableTarget(
      name: "CostBenchmarks",
      dependencies: [
        "BenchmarkRules", "Executive", "HiveStorage", "ConfigurationManager", "ProcessTable", "Notifications", "WdFilter",
        "RegistryFileSystem",
      ],
      path: "Benchmarks/CostBenchmarks", exclude: ["thresholds.tsv"], swiftSettings: settings),
    .target(name: "HiveModel", dependencies: ["Executive", "HiveStorage"], swiftSettings: settings),
    .executableTarget(
      name: "hive-stress",
      dependencies: [
        "HiveModel", "Executive", "HiveStorage", .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ],
      swiftSettings: settings),
    .testTarget(
      name: "ExecutiveTests", dependencies: ["Executive"], swiftSettings: settings),
    .testTarget(
      name: "HiveStorageTests", dependencies: ["Executive", "HiveStorage", "HiveModel"], swiftSettings: settings),
    .testTarget(
      name: "ConfigurationManagerTests",
      dependencies: ["Executive", "HiveStorage", "ConfigurationManager"], swiftSettings: settings),
    .testTarget(
      name: "ProcessTableTests", dependencies: ["Executive", "ProcessTable"], swiftSettings: settings),
    .testTarget(
      name: "SigmaTests",
      dependencies: ["Executive", "ConfigurationManager", "ProcessTable", "Sigma", "Notifications", "WdFilter", "PolicyFile"],
      exclude: ["Rules"], swiftSettings: settings),
    .testTarget(
      name: "NotificationsTests", dependencies: ["Executive", "Sigma", "Notifications"],
      exclude: ["Golden"], swiftSettings: settings),
    .testTarget(
      name: "WdFilterTests",
      dependencies: [
        "Executive", "ConfigurationManager", "ProcessTable", "Notifications", "WdFilter",
        "PolicyFile", .product(name: "Yams", package: "Yams"),
      ],
      swiftSettings: settings),
    .testTarget(
      name: "RegistryFileSystemTests",
      dependencies: ["Executive", "HiveStorage", "ConfigurationManager", "RegistryFileSystem"],
      swiftSettings: settings),
    .testTarget(name: "RegFileTests", dependencies: ["Executive", "RegFile"], swiftSettings: settings),
    .testTarget(
      name: "FUSEServerTests", dependencies: ["ConfigurationManager", "RegistryFileSystem", "FUSEServer"], swiftSettings: settings),
    .testTarget(
      name: "regwardTests",
      dependencies: [
        "Executive", "HiveStorage", "ConfigurationManager", "ProcessTable", "Sigma", "Notifications", "WdFilter", "PolicyFile",
        "HiveSamples", "regward",
      ],
      swiftSettings: settings),
    .testTarget(
      name: "HiveSamplesTests", dependencies: ["Executive", "HiveStorage", "HiveSamples"],
      swiftSettings: settings),
    .testTarget(name: "ArchitectureTests", swiftSettings: settings),
  ]
)

// Benchmarks bring packages of their own, so they are there only for those who ask (mount-scripts/bench-decisions and
// bench-storage).
if Context.environment["REGWARD_BENCHMARKS"] != nil {
  package.dependencies.append(.package(url: "https://github.com/ordo-one/benchmark", exact: "1.38.1", traits: []))
  package.targets.append(
    .executableTarget(
      name: "DecisionBenchmarks",
      dependencies: [
        "BenchmarkRules", "Executive", "ConfigurationManager", "ProcessTable", "WdFilter",
        .product(name: "Benchmark", package: "benchmark"),
      ],
      path: "Benchmarks/DecisionBenchmarks", swiftSettings: settings,
      plugins: [.plugin(name: "BenchmarkPlugin", package: "benchmark")]))
  package.targets.append(
    .executableTarget(
      name: "StorageBenchmarks", dependencies: ["Executive", "HiveStorage"], path: "Benchmarks/StorageBenchmarks",
      swiftSettings: settings))
}
