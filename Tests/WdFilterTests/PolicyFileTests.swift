import Notifications
import ConfigurationManager
import Glibc
import PolicyFile
import ProcessTable
import Testing
import WdFilter

@Suite("Policy file (policy.md)")
struct PolicyFileTests {
  private func problems(_ text: String) -> [String] {
    do throws(PolicyError) {
      return try PolicyFile.parse(text: text, fileName: "p.yaml").warnings.map(\.lintLine)
    } catch {
      return error.problems.map(\.lintLine)
    }
  }

  static let full = #"""
    version: 1
    mode: audit
    subtree: faithful
    report_failures: true
    sync: { timeout_ms: 100, timeouts_until_pass_through: 2, retry_after_ms: 0x3E8, on_timeout: deny }
    queue: { size: 64, starvation_limit: 3 }
    hardened:
      - service: AcmeSvc
      - key: HKLM\SOFTWARE\Acme
        match: string-prefix
    query_denied:
      - value: LoadAppInit_DLLs
        to: [MsSeces, MpServiceSid]
    processes:
      - id: packager
        when:
          { exe: /bin/sh, uid: 0, gid: 7, cgroup: acme.service, label: acme, parent: /usr/bin/env, script: /usr/bin/ldd,
            name: sh, sha256: 00000000000000000000000000000000000000000000000000000000000000ff }
        flags: [Friendly, MsSeces]
      - id: auditor
        when: { uid: 990 }
        rules: 0x400
    monitored:
      - id: one
        key: HKLM\SOFTWARE\One
        mode: off
        rules: 0x37C015
        hash: 6f1ed002ab5595859014ebf0951522d9
        values:
          - name: DisableAntiSpyware
            rules: [SetValueKeyOperation, DeleteDenied]
          - rules: 0x2D00
      - id: two
        key: HKU\*\Software\**
        rules: [CreateDenied]
    exclusions: [/usr/bin/env, "/usr/lib/acme/*"]
    doc_open:
      - { image: AcroRd32, extension: pdf }
    """#

  @Test func everythingItSaysIsRead() throws {
    let policy = try PolicyFile.parse(text: Self.full, fileName: "p.yaml")
    let rules = policy.rules
    #expect(rules.mode == .audit)
    #expect(rules.subtree == .faithful)
    let own = rules.hardened.filter { $0.source != .builtIn }
    #expect(own.map(\.id) == ["hardened: AcmeSvc", #"hardened: HKLM\SOFTWARE\Acme"#])
    #expect(own.map(\.match) == [.component, .stringPrefix])
    #expect(own.map(\.source.description) == ["p.yaml:8", "p.yaml:9"])
    #expect(rules.processes.map(\.id) == ["packager", "auditor"])
    #expect(rules.processes[0].flags == [.friendly, .msSeces])
    #expect(rules.processes[0].rules == nil)
    #expect(rules.processes[0].when.userID == 0)
    #expect(rules.processes[0].when.groupID == 7)
    #expect(rules.processes[0].when.executable?.text == "/bin/sh")
    #expect(rules.processes[1].rules == .allowAllRegistryOperations)
    #expect(rules.monitored.map(\.id) == ["one", "two"])
    #expect(rules.monitored[0].mode == .off)
    #expect(rules.monitored[0].rules.rawValue == 0x37C015)
    #expect(rules.monitored[0].hash?.hexadecimal == "6f1ed002ab5595859014ebf0951522d9")
    #expect(
      rules.monitored[0].values == [
        ValueRule(name: "DisableAntiSpyware", rules: [.setValueKeyOperation, .deleteDenied]),
        ValueRule(name: nil, rules: RuleBits(rawValue: 0x2D00)),
      ])
    #expect(rules.monitored[1].source.description == "p.yaml:33")
    #expect(rules.exclusions.map(\.pattern.text) == ["/usr/bin/env", "/usr/lib/acme/*"])
    #expect(rules.documentRules.map(\.imageName) == ["AcroRd32"] && rules.documentRules.map(\.fileExtension) == ["pdf"])
    #expect(rules.documentRules.map(\.source.description) == ["p.yaml:38"])
    #expect(policy.warnings == [])
    #expect(rules.reportsFailures)
    #expect(rules.sync.timeout == 100)
    #expect(rules.sync.timeoutsUntilPassThrough == 2)
    #expect(rules.sync.retryAfter == 1000)
    #expect(rules.sync.onTimeout == .deny)
    #expect(rules.queue.size == 64)
    #expect(rules.queue.starvationLimit == 3)
    #expect(rules.queryDenied.map(\.valueName) == ["LoadAppInit_DLLs"])
    #expect(rules.queryDenied.map(\.flags) == [[.msSeces, .mpServiceSid]])
    #expect(rules.queryDenied.map(\.source.description) == ["p.yaml:12"])
    #expect(rules.version == 1)
    #expect(try PolicyFile.parse(text: Self.full, fileName: "p.yaml", version: 12).rules.version == 12)
  }

  @Test func whatIsNotSaidIsTheDrivers() throws {
    let rules = try PolicyFile.parse(text: "version: 1", fileName: "p").rules
    #expect(rules.sync.timeout == 5000 && rules.sync.timeoutsUntilPassThrough == 4)
    #expect(rules.sync.retryAfter == 60000 && rules.sync.onTimeout == .allow)
    #expect(rules.queue.size == 16384 && rules.queue.starvationLimit == 8)
    #expect(!rules.reportsFailures)
    #expect(rules.queryDenied == QueryDeniedValue.standard)
    #expect(try PolicyFile.parse(text: "version: 1\nquery_denied: []", fileName: "p").rules.queryDenied == [])
  }

  @Test(arguments: [0x37C015, 0xC2D00, 0x2D00] as [UInt32])
  func theBinaryFormsRuleWordsAreNumbers(word: UInt32) throws {
    let digits = String(word, radix: 16, uppercase: true)
    for text in ["0x\(digits)", "0X\(digits.lowercased())", "\(word)"] {
      let policy = "version: 1\nmonitored:\n  - {id: a, key: HKLM\\A, rules: \(text), "
        + "hash: 00112233445566778899AABBCCDDEEFF, values: [{rules: \(text)}]}"
      let rule = try #require(try PolicyFile.parse(text: policy, fileName: "p").rules.monitored.first)
      #expect(rule.rules.rawValue == word && rule.values.map(\.rules.rawValue) == [word])
      #expect(rule.hash?.hexadecimal == "00112233445566778899aabbccddeeff")
    }
  }

  @Test func theShortestPolicyStillHardens() throws {
    let rules = try PolicyFile.parse(text: "version: 1", fileName: "p").rules
    #expect(rules.mode == .enforce)
    #expect(rules.subtree == .strict)
    #expect(rules.decide(set(winDefend, "Start")) { nil }.verdict == .deny)
  }

  @Test(arguments: [
    ("", "1:1"), ("mode: enforce", "1:1"), ("version: 2", "1:10"), ("version: one", "1:10"), ("- 1", "1:1"),
    ("version: 1\nmode: enforced", "2:7"), ("version: 1\nsubtree: [a]", "2:10"), ("version: 1\n\tx: 1", "2:1"),
    ("version: 1\nmonitored:\n  - id: a\n    key: HKLM\\A\n    rules: [SetValueDenyed]", "5:13"),
    ("version: 1\nmonitored:\n  - id: a\n    key: HKLM\\A\n    rules: 0x1FFFFFFFF", "5:12"),
    ("version: 1\nmonitored:\n  - id: a\n    key: HKLM\\A\\\\B\n    rules: 1", "4:16"),
    ("version: 1\nmonitored:\n  - id: a\n    key: HKCU\\A\n    rules: 1", "4:10"),
    ("version: 1\nmonitored:\n  - id: a\n    key: HKLM\\A\n    hash: 12\n    rules: 1", "5:11"),
    ("version: 1\nmonitored:\n  - id: a\n    key: HKLM\\A", "3:5"),
    ("version: 1\nmonitored:\n  - key: HKLM\\A\n    rules: 1", "3:5"),
    ("version: 1\nmonitored:\n  - id: a\n    rules: 1", "3:5"),
    ("version: 1\nmonitored:\n  - {id: a, key: 'HKLM\\A', rules: 1}\n  - {id: a, key: 'HKLM\\B', rules: 1}", "4:10"),
    ("version: 1\nhardened: [{service: 'A\\B'}]", "2:22"), ("version: 1\nhardened: [{match: component}]", "2:12"),
    ("version: 1\nhardened: [{key: 'HKLM\\A\\*', match: string-prefix}]", "2:37"),
    ("version: 1\nhardened: {service: A}", "2:11"), ("version: 1\nhardened: [{service: A, key: HKLM}]", "2:30"),
    ("version: 1\nprocesses: [{id: a, when: {}, flags: [Friendly]}]", "2:27"),
    ("version: 1\nprocesses: [{id: a, when: {exe: sh}, flags: [Friendly]}]", "2:33"),
    ("version: 1\nprocesses: [{id: a, when: {uid: -1}, flags: [Friendly]}]", "2:33"),
    ("version: 1\nprocesses: [{id: a, when: {uid: 4294967295}, flags: [Friendly]}]", "2:33"),
    ("version: 1\nprocesses: [{id: a, when: {uid: 0}, flags: [Freindly]}]", "2:45"),
    ("version: 1\nprocesses: [{id: a, when: {uid: 0}}]", "2:13"), ("version: 1\nexclusions: [bin/sh]", "2:14"),
    ("version: 1\ndoc_open: [{image: a}]", "2:12"), ("version: 1\ndoc_open: [{image: a/b, extension: c}]", "2:20"),
    ("version: 1\ndoc_open: [{image: a, extension: .c}]", "2:34"), ("version: 1\ndoc_open: [{image: a, ext: c}]", "2:23"),
    ("version: 1\nversion: 1", "1:1"), ("version: 1\n---\nversion: 1", "2:1"), ("a: [\n", "2:1"),
    ("version: 1\nquery_denied: [{value: x}]", "2:16"), ("version: 1\nquery_denied: [{value: x, to: []}]", "2:31"),
    ("version: 1\nreport_failures: yes", "2:18"), ("version: 1\nsync: {timeout_ms: 0}", "2:20"),
    ("version: 1\nsync: {timeout_ms: 60001}", "2:20"), ("version: 1\nsync: {on_timeout: maybe}", "2:20"),
    ("version: 1\nqueue: {size: 0}", "2:15"), ("version: 1\nqueue: {length: 5}", "2:9"),
    ("version: 1\ninclude: x", "2:10"), ("version: 1\ninclude: ['']", "2:11"),
    ("version: 1\ninclude: [x]", "2:11"),
  ])
  func anErrorHasItsLineAndColumn(text: String, place: String) {
    let found = problems(text)
    #expect(found.contains { $0.hasPrefix("p.yaml:\(place): error: ") }, "\(found)")
  }

  @Test(arguments: [
    ("mode: enforced", "did you mean 'enforce'?"), ("monitord: []", "did you mean 'monitored'?"),
    ("xyzzy: 1", "known: version"), ("subtree: Strict", "did you mean 'strict'?"),
    ("monitored: [{id: a, key: HKLM, rules: [CreateKeyOperations]}]", "did you mean 'CreateKeyOperation'?"),
    ("processes: [{id: a, when: {uids: 0}, flags: []}]", "did you mean 'uid'?"),
  ])
  func anUnknownNameGetsASuggestion(text: String, hint: String) {
    #expect(problems("version: 1\n" + text).contains { $0.contains("error: unknown") && $0.contains(hint) })
  }

  @Test func aProcessCarriesOneDocumentRule() {
    let found = problems("version: 1\ndoc_open:\n  - {image: a, extension: b}\n  - {image: A, extension: c}")
    #expect(found == ["p.yaml:4:5: warning: this entry adds nothing: p.yaml:3 has an extension for A"])
  }

  @Test func aNameIsAnExclusionInEveryFolder() throws {
    let text = "version: 1\nexclusions: [agent]\nmonitored: [{id: a, key: 'HKLM\\SOFTWARE\\Acme', rules: [CreateDenied]}]"
    let policy = try PolicyFile.parse(text: text, fileName: "p.yaml")
    #expect(policy.warnings.map(\.line) == [2])
    let pattern = try #require(policy.rules.exclusions.first?.pattern)
    #expect(pattern.text == "agent")
    let processes = ["/opt/x/agent", "/opt/agent", "/opt/agent/x", "/opt/agents"].map { process($0, uid: 0) }
    let isExempt = processes.map { process in policy.rules.decide(create(acme)) { process }.isExempt }
    #expect(isExempt == [true, true, false, false])
  }

  @Test func allProblemsAreToldInTheOrderOfTheFile() {
    let found = problems("version: 3\nmode: x\nexclusions: 1\nquery_denied: x")
    #expect(found.map { $0.prefix(9) } == ["p.yaml:1:", "p.yaml:2:", "p.yaml:3:", "p.yaml:4:"])
  }

  @Test func theErrorPrintsFileLineColumnAndMessage() {
    #expect { try PolicyFile.parse(text: "version: 2", fileName: "p.yaml") } throws: {
      ($0 as? PolicyError)?.description == "p.yaml:1:10: version 1 is the only one there is"
    }
  }

  // MARK: Files

  private func failure(_ path: String) -> String? {
    do throws(PolicyError) {
      _ = try PolicyFile.load(path: path)
      return nil
    } catch {
      return error.description
    }
  }

  @Test func aFileThatOnlyWeCanChangeIsRead() throws {
    let folder = try PolicyFolder()
    #expect(failure(folder.file) == nil)
    #expect(symlink(folder.file, folder.path + "/link") == 0)
    #expect(failure(folder.path + "/link") == nil)
  }

  @Test(arguments: [0o664, 0o646] as [mode_t])
  func aFileThatOthersCanChangeIsRefused(mode: mode_t) throws {
    let folder = try PolicyFolder()
    chmod(folder.file, mode)
    let text = try #require(failure(folder.file))
    #expect(text.hasPrefix(folder.file + ": the file belongs to"))
    #expect(text.contains("chmod go-w '\(folder.file)'"))
  }

  @Test(arguments: [0o775, 0o707, 0o1777] as [mode_t])
  func aFolderThatOthersCanChangeIsRefused(mode: mode_t) throws {
    let folder = try PolicyFolder()
    chmod(folder.path, mode)
    let text = try #require(failure(folder.file))
    #expect(text.contains("its folder \(folder.path)"))
    #expect(symlink(folder.file, folder.path + "/link") == 0)
    #expect(failure(folder.path + "/link") != nil)
  }

  @Test func aFolderFurtherUpInWhichOthersCanExchangeWhatLiesThereIsRefused() throws {
    let outer = try PolicyFolder()
    let inner = outer.path + "/inner"
    #expect(mkdir(inner, 0o700) == 0)
    #expect(rename(outer.file, inner + "/policy") == 0)
    #expect(failure(inner + "/policy") == nil)
    chmod(outer.path, 0o777)
    #expect(failure(inner + "/policy")?.contains("\(outer.path), on the way to it, ") == true)
    // With the sticky bit, what is ours stays.
    chmod(outer.path, 0o1777)
    #expect(failure(inner + "/policy") == nil)
    chmod(outer.path, 0o700)
    unlink(inner + "/policy")
    rmdir(inner)
  }

  @Test(.enabled(if: getuid() == 0, "only root can give a file away"))
  func aForeignOwnerIsRefused() throws {
    let folder = try PolicyFolder()
    #expect(chown(folder.file, 4242, 4242) == 0)
    #expect(failure(folder.file)?.contains("chown root") == true)
    #expect(chown(folder.file, 0, 0) == 0 && chown(folder.path, 4242, 4242) == 0)
    #expect(failure(folder.file)?.contains("its folder") == true)
  }

  @Test func whatIsNoReadableTextIsRefused() throws {
    let folder = try PolicyFolder()
    #expect(failure(folder.path + "/none")?.contains("No such file") == true)
    #expect(failure(folder.path) != nil)
    let broken = try PolicyFolder("version: 1 # \u{E9}")
    #expect(truncate(broken.file, off_t("version: 1 # ".utf8.count + 1)) == 0)
    #expect(failure(broken.file)?.contains("UTF-8") == true)
  }

  @Test(.enabled(if: getuid() == 0, "only root can give a file away"))
  func anExemptionByAnExecutableThatIsNotRootsIsAnError() throws {
    let folder = try PolicyFolder()
    let entry = "processes: [{id: a, when: {exe: \(folder.file)}, flags: [Friendly]}]"
    let withUser = "processes: [{id: a, when: {exe: \(folder.file), uid: 5}, flags: [Friendly]}]"
    let harmless = "processes: [{id: a, when: {exe: \(folder.file)}, flags: [MsSeces]}]"
    #expect(!problems("version: 1\n" + entry).contains { $0.contains("error:") })
    chown(folder.file, 4242, 4242)
    #expect(problems("version: 1\n" + entry).contains { $0.hasPrefix("p.yaml:2:33: error: an exemption must rest") })
    #expect(problems("version: 1\nexclusions: [\(folder.file)]").contains { $0.hasPrefix("p.yaml:2:14: error:") })
    #expect(problems("version: 1\n" + withUser) == [])
    #expect(problems("version: 1\n" + harmless) == [])
    #expect(problems("version: 1\nexclusions: [/nobody/has/this]").map { $0.contains("warning: /nobody") } == [true])
  }

  // MARK: The policy that ships

  private static let shipped: String? = {
    let root = #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
    let descriptor = open("/\(root)/Sources/regward/DefaultPolicy.swift", O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    var bytes = [UInt8](repeating: 0, count: 1 << 16)
    let count = read(descriptor, &bytes, bytes.count)
    let source = String(decoding: bytes.prefix(max(0, count)), as: UTF8.self)
    let lines = source.split(separator: "\n", omittingEmptySubsequences: false)
    let quotes = String(repeating: "\"", count: 3)
    guard let first = lines.firstIndex(where: { $0.hasSuffix("#" + quotes) }),
      let last = lines.lastIndex(where: { $0.hasSuffix(quotes + "#") }), first < last
    else { return nil }
    return lines[(first + 1)..<last].map { $0.dropFirst($0.hasPrefix("    ") ? 4 : 0) }.joined(separator: "\n")
  }()

  @Test func theShippedPolicyProtectsTheDefender() throws {
    let text = try #require(Self.shipped)
    let policy = try PolicyFile.parse(text: text, fileName: "default-policy.yaml")
    #expect(policy.warnings == [])
    let rules = policy.rules
    let defender = #"\REGISTRY\MACHINE\SOFTWARE\Policies\Microsoft\Windows Defender"#
    for name in [defender, defender + #"\Real-Time Protection"#] {
      for operation in [
        create(name), delete(name), rename(name, "x"), set(name, "DisableAntiSpyware"), set(name, ""),
        set(name, "DisableAntiSpyware", nil), deleteValue(name, "DisableAntiSpyware"),
      ] {
        let decision = rules.decide(operation) { process(uid: 0) }
        #expect(decision.verdict == .deny, "\(operation)")
        #expect(decision.ruleIDs == ["defender-policy"])
      }
    }
    for operation in [
      set(winDefend, "Start"), rename(system + #"\ControlSet001\Services"#, "x"), set(system + #"\Select"#, "Current"),
      rename(#"\REGISTRY\MACHINE\SOFTWARE\Policies"#, "x"), delete(#"\REGISTRY\MACHINE\SOFTWARE\Policies\Microsoft"#),
    ] {
      let decision = rules.decide(operation) { process(uid: 0) }
      #expect(decision.verdict == .deny, "\(operation)")
      #expect(decision.source?.file == "default-policy.yaml")
    }
    for operation in [
      set(acme, "v"), create(acme), delete(acme), rename(acme, "x"), create(defender + "X"),
      set(system + #"\ControlSet001\Services\Tcpip"#, "Start"), rename(system + #"\ControlSet001\Services\Tcpip"#, "x"),
    ] {
      #expect(rules.decide(operation) { nil }.reason == .untouched, "\(operation)")
    }
  }
}
