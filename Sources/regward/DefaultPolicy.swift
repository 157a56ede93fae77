/// The policy that is in force when the user names none. Also good as the beginning of a file of one's own:
/// `regward rules default > my-policy.yaml`.
enum DefaultPolicy {
  static let fileName = "default-policy.yaml"

  static let text = #"""
    # The policy that regward ships: Windows Defender's own services and its policies.
    # Key names are registry names. HKLM, HKU, HKCR or \REGISTRY\...; CurrentControlSet means every control set;
    # * stands for one component, ** for any number, also none. Nothing is escaped.
    version: 1
    mode: enforce        # enforce | audit (log what would be refused, refuse nothing) | off
    subtree: strict      # strict | faithful (do not judge ancestors of protected keys)

    # No change by anybody but the product itself, in every control set, the keys below included.
    hardened:
      - service: WinDefend
      - service: WdFilter
      - service: WdBoot
      - service: WdNisDrv
      - service: WdNisSvc
      - key: HKLM\SYSTEM\Select

    # Nobody is exempt. To let a program work, name its file (root's, writable by nobody else) or a uid:
    #   - id: packager
    #     when: { exe: /usr/bin/dpkg, uid: 0 }
    #     flags: [Friendly]
    processes: []

    monitored:
      - id: defender-policy
        key: HKLM\SOFTWARE\Policies\Microsoft\Windows Defender\**
        rules:
          - CreateKeyOperation
          - CreateDenied
          - RenameKeyOperation
          - RenameDenied
          - DeleteKeyOperation
          - DeleteDenied
        values:
          # No name: every value of the key, the default value included.
          - rules:
              - SetValueKeyOperation
              - SetValueRetrieveKeyValueInfo
              - SetValueDenied
              - DeleteValueKeyOperation
              - DeleteValueRetrieveKeyValueInfo
              - DeleteDenied
    """#
}
