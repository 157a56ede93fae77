internal import ArgumentParser
internal import Glibc
internal import PolicyFile
internal import WdFilter

extension RulesCommand {
  struct Explain: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Tells how the rules would decide, and each step that leads there. Nothing is changed.",
      discussion: """
        Operations: \(OperationWord.list). Keys are registry names: HKLM\\…, HKU\\…, HKCR\\… or \\REGISTRY\\…; \
        the default value's name is empty (''). A replace is judged at the hive's root: name that.

        The process is pid=N, one that is there, with all that speaks for and against it; or \
        exe=PATH,uid=N,gid=N, one that might be (uid and gid 0 unless given; an executable that is not there counts as root's); or unknown.

        Exit status: 0; 1 when the policy cannot be used; 64 when the command line is wrong.
        """)

    @Argument(help: ArgumentHelp("What is done.", valueName: "op"))
    var operation: String

    @Argument(help: ArgumentHelp("The key's registry name.", valueName: "key"))
    var key: String

    @Argument(help: ArgumentHelp("The value's name, for set, delete-value and query.", valueName: "value"))
    var value: String?

    @Option(help: ArgumentHelp("The new name, for rename.", valueName: "newname"))
    var to: String?

    @Option(name: .customLong("as"), help: ArgumentHelp("Who does it.", valueName: "process"))
    var process: String

    @Option(help: ArgumentHelp("The policy; without one, the policy that ships.", valueName: "file"))
    var policy: String?

    func run() throws {
      let question: RuleQuestion
      do throws(QuestionProblem) {
        question = try RuleQuestion(operation: operation, key: key, value: value, newName: to, process: process)
      } catch {
        throw ValidationError(error.message)
      }
      do throws(MountFailure) {
        let rules = try RulesCommand.policy(policy).rules
        print(rules.explain(question.operation, process: question.process))
      } catch {
        Console.tell(error.message)
        throw ExitCode(error.status)
      }
    }
  }

  struct CanI: ParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "can-i",
      abstract: "Asks a mount whether it would let you do something. Nothing is changed.",
      discussion: """
        Operations: \(OperationWord.list). The path is that of the key or, for set, delete-value and query, of the \
        value; it need not exist. You are judged as the process that asks: this one.

        Exit status: 0 yes, 1 no, 2 when nobody can be asked.
        """)

    @Argument(help: ArgumentHelp("What would be done.", valueName: "op"))
    var operation: String

    @Argument(help: "A path below the mount point of a hive.", completion: .file())
    var path: String

    @Option(help: ArgumentHelp("The new name, for rename.", valueName: "newname"))
    var to: String?

    func validate() throws {
      guard let word = OperationWord(rawValue: operation) else {
        throw ValidationError("'\(operation)' is no operation; known are \(OperationWord.list)")
      }
      if (word == .rename) != (to != nil) { throw ValidationError("--to goes with rename, and rename needs it") }
    }

    func run() throws {
      do throws(MountFailure) {
        let answer = try ask()
        Console.write(Array(answer.utf8), to: STDOUT_FILENO)
        if !answer.hasPrefix("allow") { throw MountFailure("", status: 1) }
      } catch {
        if !error.message.isEmpty { Console.tell(error.message) }
        throw ExitCode(error.status)
      }
    }

    private func ask() throws(MountFailure) -> String {
      do throws(MountFailure) {
        let place = try MountedPath(itself: path)
        return try place.ask("can-i", [operation, place.relative] + (to.map { [$0] } ?? []))
      } catch {
        // That nothing was learned is no "no".
        throw MountFailure(error.message, status: MountFailure.systemStatus)
      }
    }
  }
}
