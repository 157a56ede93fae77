import Executive
import Testing
import WdFilter

@Suite("Notify classes and rule bits (wdfilter.md 1, 3, 3.1, 3.2)")
struct FilteredClassTests {
  @Test func theTableYieldsTheDriversMasks() {
    #expect(FilteredClass.hardeningCheckedMask == 0x2200_0000_0017)
    #expect(FilteredClass.handledMask == 0x6600_0C0B_8017)
    #expect(FilteredClass.postMask == 0x4400_080B_8000)
  }

  @Test func beyondTheDriverAreTheTimeTheSecurityAndHivesThatComeAndGo() {
    let added: [NotifyClass] = [
      .preSetInformationKey, .postSetInformationKey, .preLoadKey, .postLoadKey, .preUnLoadKey, .postUnLoadKey,
      .preSetKeySecurity, .postSetKeySecurity,
    ]
    #expect(FilteredClass.interestMask & ~FilteredClass.handledMask == added.reduce(0) { $0 | $1.bit })
  }

  @Test(arguments: [
    (.preCreateKeyEx, 0x10001), (.preRenameKey, 0x20004), (.preDeleteKey, 0x40010), (.preSetValueKey, 0x80100),
    (.preDeleteValueKey, 0x40800), (.preRestoreKey, 0x204000), (.preReplaceKey, 0x108000),
  ] as [(NotifyClass, UInt32)])
  func theFlagAskedForIsOperationAndDenied(notifyClass: NotifyClass, flag: UInt32) {
    #expect(FilteredClass.table.first { $0.pre == notifyClass }?.flag.rawValue == flag)
  }

  @Test func liveRuleWordsReadAsTheSpecificationSays() {
    #expect(
      RuleBits(rawValue: 0x37C015).names == [
        "CreateKeyOperation", "RenameKeyOperation", "DeleteKeyOperation", "RestoreKeyOperation", "ReplaceKeyOperation",
        "CreateDenied", "RenameDenied", "DeleteDenied", "ReplaceDenied", "RestoreDenied",
      ])
    #expect(
      RuleBits(rawValue: 0xC2D00).names == [
        "SetValueKeyOperation", "SetValueRetrieveKeyValueInfo", "DeleteValueKeyOperation",
        "DeleteValueRetrieveKeyValueInfo", "DeleteDenied", "SetValueDenied",
      ])
    #expect(RuleBits(rawValue: 0x1800000).names == ["0x1800000"])
    #expect(RuleBits.tamperProtectionActive.rawValue == 0x40 << 16)
  }

  @Test func processWordsHaveTheDriversBits() {
    #expect(
      ProcessFlags.named.map(\.bit.rawValue) == [0x1, 0x8, 0x10, 0x20, 0x40, 0x80, 0x100, 0x200, 0x400, 0x800])
    #expect(ProcessRules.named.map(\.bit.rawValue) == [0x400, 0x200000, 0x2000_0000])
  }
}
