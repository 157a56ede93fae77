internal import ArgumentParser
internal import Glibc
internal import PolicyFile
internal import WdFilter

extension RulesCommand {
  struct List: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Lists rules with their whole key paths, bits, hash, hits and file:line.",
      discussion: """
        Of a policy's file, or of a mount with its hits as of now; without either, of the policy that ships.

        A filter is key=TEXT,value=TEXT,bit=NAME-OR-NUMBER,hash=DIGITS, all that is given to hold: keys and values that \
        contain the text in any case, rules that hold the bits, hashes that begin so. An entry for any value goes with \
        every value.

        Exit status: 0 when there is something to list, 1 when there is nothing, 2 when a policy cannot be \
        used or a mount not be asked.
        """)

    @Argument(
      help: ArgumentHelp("A policy's file, or a path on a mount.", valueName: "policy-or-mount"), completion: .file())
    var place: String?

    @Option(help: ArgumentHelp("Only what matches.", valueName: "filter"))
    var filter: String = ""

    @Flag(help: "One JSON object a line.")
    var json = false

    func validate() throws {
      do throws(RuleListingFilter.Problem) { _ = try RuleListingFilter(parsing: filter) } catch {
        throw ValidationError(error.description)
      }
    }

    func run() throws {
      var text = ""
      do throws(MountFailure) {
        if let place, let mount = Self.mount(place) {
          text = try MountedPath(mount).ask("rules", [filter] + (json ? [] : ["table"]))
        } else {
          let listings = try RulesCommand.policy(place).rules.listings
          let wanted = try? RuleListingFilter(parsing: filter)
          text = RuleTable.answer(listings.filter { wanted?.matches($0) ?? true }, asTable: !json)
        }
      } catch {
        Console.tell(error.message)
        throw ExitCode(MountFailure.systemStatus)
      }
      Console.write(Array(text.utf8), to: STDOUT_FILENO)
      if text.isEmpty { throw ExitCode(1) }
    }

    private static func mount(_ path: String) -> String? {
      MountTable.mount(of: FilePath.resolveExisting(path), among: MountTable.read())
    }
  }

  /// A policy's file, or the policy that ships.
  static func policy(_ path: String?) throws(MountFailure) -> PolicyFile {
    do throws(PolicyError) {
      if let path { return try PolicyFile.load(path: path) }
      return try PolicyFile.parse(text: DefaultPolicy.text, fileName: DefaultPolicy.fileName)
    } catch {
      throw MountFailure(error.description, status: MountFailure.usageStatus)
    }
  }
}

extension RuleTable {
  static func answer(_ listings: [RuleListing], asTable: Bool) -> String {
    asTable ? text(listings) : json(listings)
  }
}
