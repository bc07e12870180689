"""The guards of this system, one row each: the requirement (SEC-n of the threats), where its guard stands in the
source, what takes it away, and the tests that fail then.

`search` stands exactly once in `file`: a guard that was moved or rewritten makes its row fail, and whoever moved it
writes the new one here. `replace` is the same program without the guard, never one that cannot run.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Guard(NamedTuple):
    """`tests` are pytest's node ids; one without parameters means all of them, of which one failing is enough."""

    sec: int
    requirement: str
    file: str
    search: str
    replace: str
    tests: tuple[str, ...]


ADMIT = "tests/core/test_authorization.py::test_refused_by_its_own_check"
CORE, ADMINISTRATION, DELIVERY = "mediation/core/", "mediation/administration/", "mediation/delivery/"
RAISES = "raise AuthorizationError(Check."

GUARDS: Final = (
    Guard(1, "a tap without a case is a difference", CORE + "reconciliation.py", "elif suspicion.believed:",
          "elif True:", ("tests/reconciliation/test_judge.py::test_a_stranger_is_asked_for_twice_and_believed_once",)),
    Guard(2, "a witness cosigns one growing tree", CORE + "witness.py", "if not _follows(request, seen, head):",
          "if False:", ("tests/core/test_witness.py::test_the_table_of_refusals",)),
    Guard(2, "the start holds the ledger against what left it", ADMINISTRATION + "verify.py",
          "if tree.root(old.size) != old.root:", "if False:",
          ("tests/administration/test_ledger.py::test_another_history_of_the_same_length",)),
    Guard(2, "a head that was kept is not forgotten", ADMINISTRATION + "verify.py",
          "if old.size > head.size:", "if False:",
          ("tests/administration/test_ledger.py::test_everything_put_back_is_found_by_whoever_remembers",)),
    Guard(2, "a tap needs the quorum's cosignatures", CORE + "trust.py", "if not judged.quorum:", "if False:",
          (ADMIT, "tests/faults/test_administrator_with_all_keys.py::test_it_can_only_stop[iap]")),
    Guard(3, "no task outlives its lease", CORE + "lease.py", "return now_ns < self.ends_ns", "return True",
          ("tests/core/test_lease.py::test_without_news_all_tasks_stop_and_come_back_with_a_new_head",)),
    Guard(3, "nothing is armed without a lease", CORE + "x1.py", "if not self.lease.valid(now_ns):\n            raise",
          "if False:\n            raise",
          ("tests/faults/test_administrator_with_all_keys.py::test_without_the_witnesses_nothing_goes_on_for_long",)),
    Guard(3, "72 hours at the most", CORE + "lease.py", "min(grace_ns, MAX_GRACE_NS)", "grace_ns",
          ("tests/core/test_lease.py::test_no_configuration_makes_the_grace_longer",)),
    Guard(4, "a changed file refuses activations", ADMINISTRATION + "code.py", "if self._changed:\n            raise",
          "if False:\n            raise",
          ("tests/reconciliation/test_identity.py::"
           "test_a_changed_file_is_named_and_activations_wait_until_the_restart",)),
    Guard(12, "the approval is of this very order", CORE + "authorization.py",
          "if carrier.legal_sha256 != jws.sha256_hex(legal_text):", "if False:",
          (ADMIT, "tests/faults/test_administrator_with_all_keys.py::test_it_can_only_stop[mediator]")),
    Guard(12, "the kernel drops what no order names", DELIVERY + "egress.py", "counter name refused drop",
          "counter name refused accept",
          ("tests/delivery/test_egress.py::test_the_mediator_reaches_live_orders_destinations_and_nothing_else",)),
    Guard(13, "unknown settings are refused", "mediation/runtime/config.py",
          "class _Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):",
          "class _Section(msgspec.Struct, frozen=True, kw_only=True):",
          ("tests/guards/test_configuration.py::test_there_is_no_such_setting",)),
    Guard(14, "unknown user, wrong key: one answer", CORE + "request.py",
          "return Check.REQUEST.value if check in hidden else check", "return check",
          ("tests/audit/test_requests.py::test_every_refusal_is_the_same_octets",)),
    Guard(14, "failed attempts are limited", ADMINISTRATION + "gate.py", "if caller.over or not self._allowed(now_ns):",
          "if False:", ("tests/audit/test_requests.py::test_a_connection_ends_after_a_few",
                        "tests/audit/test_requests.py::test_in_all_and_stops_do_not_wait")),
    Guard(14, "failed attempts alarm", ADMINISTRATION + "gate.py",
          "if dense and now_ns >= self._quiet_until_ns:", "if False:",
          ("tests/audit/test_requests.py::test_refused_requests_raise_one_alarm_and_cannot_fill_the_ledger",)),
    Guard(15, "control is a Unix socket of its owner", "mediation/runtime/sockets.py", "(folder / name).chmod(0o600)",
          "(folder / name).chmod(0o666)",
          ("tests/administration/test_administrator.py::test_the_socket_is_its_owners_and_bears_rubbish",)),
    Guard(16, "three keys", CORE + "signature.py", "if len({key.public for key in keys}) != len(keys):", "if False:",
          (ADMIT,)),
    Guard(16, "three persons", CORE + "signature.py", "if len({key.person for key in keys}) != len(keys):",
          "if False:", (ADMIT,)),
    Guard(16, "no second role", CORE + "signature.py",
          "if any(key.person in trust.of_two_roles for key in keys):", "if False:", (ADMIT,)),
    Guard(16, "no second role in the roster", CORE + "roster.py",
          "if held.person == action.person and held.role is not action.role and overlap:", "if False:",
          ("tests/core/test_roster.py::test_no_second_role_at_any_instant",
           "tests/core/test_roster.py::test_two_roles_in_one_change")),
    Guard(16, "one authenticator is one person's", CORE + "roster.py", "            if any(same):",
          "            if False:", ("tests/core/test_roster.py::test_one_authenticator_is_one_persons",)),
    Guard(17, "a reading is entered before it is answered", ADMINISTRATION + "inquiries.py",
          'self._enter(opened, "show", case, now_ns)', "pass",
          ("tests/audit/test_requests.py::test_each_reading_is_entered_with_its_person_and_reason",
           "tests/audit/test_requests.py::test_the_entry_stands_before_the_answer_is_made")),
    Guard(17, "a reading has a reason", CORE + "request.py",
          "not REASON.fullmatch(envelope.reason) or not envelope.reason.strip() or IDENTITY.search(envelope.reason)",
          "False", ("tests/audit/test_requests.py::test_a_reason_is_needed_and_names_nobody",)),
    Guard(18, "the sample is the seed's", "mediation/audit/sample.py",
          "sorted(chosen, key=lambda each: place(seed, each.index))[:count]", "chosen[:count]",
          ("tests/audit/test_verifier_openings.py::test_the_sample_is_the_seeds_and_nobodys",)),
    Guard(19, "no record lies in clear", ADMINISTRATION + "tiles.py",
          "found.append(text if first else UNREADABLE)", "found.append(text)",
          ("tests/administration/test_ledger_sealed.py::test_only_entry_0_may_lie_in_clear",)),
    Guard(19, "no record is told by its size", ADMINISTRATION + "tiles.py", "octets.ljust(size)", "octets",
          ("tests/administration/test_ledger_sealed.py::test_no_line_can_be_told_from_another",)),
    Guard(19, "each purpose has a key of its own", "mediation/runtime/vault.py",
          'info = b"mediation vault 1 " + purpose.encode()', 'info = b"mediation vault 1 "',
          ("tests/runtime/test_vault.py::test_keys_differ_by_purpose_and_by_site",)),
    Guard(20, "freed memory is overwritten", "mediation/cli/function.py", "forgetting.begin_anew()", "pass",
          ("tests/access/test_memory.py::test_the_access_process_keeps_nothing_but_its_own_subjects",)),
    Guard(20, "no order's text waits for the next", "mediation/runtime/x1_server.py", 'octets = line = b""', "pass",
          ("tests/access/test_memory.py::test_the_access_process_keeps_nothing_but_its_own_subjects",)),
    Guard(21, "who listens elsewhere does not start", "mediation/runtime/network.py",
          "if ipaddress.ip_address(address) not in addresses(interface):", "if False:",
          ("tests/runtime/test_network.py::test_an_address_is_of_one_interface",)),
    Guard(21, "delivery and management are apart", "mediation/runtime/config.py",
          "if delivery and delivery == management and not file.lab:", "if False:",
          ("tests/runtime/test_network.py::test_planes_that_are_not_apart_are_refused",)),
    Guard(22, "a honey case that is read alarms", ADMINISTRATION + "inquiries.py",
          "baits = [each for each in (case, *named) if each in self._honey]", "baits: list[str] = []",
          ("tests/audit/test_honey.py::test_reading_a_honey_case_raises_the_alarm_at_once",)),
    Guard(23, "only the cursor moves, and within what was sent", CORE + "link.py",
          "        if beyond:\n", "        if False:\n",
          ("tests/core/test_link.py::test_nothing_that_the_far_side_sends_moves_more_than_the_cursor",
           "tests/core/test_link.py::test_the_delivery_side_refuses")),
    Guard(23, "the far side says what is its to say", CORE + "link.py", "        if follows is None:\n",
          "        if follows is None and guilty is RemoteProtocolError:\n            follows = self.state\n"
          "        if follows is None:\n",
          ("tests/guards/test_agencies.py::test_nothing_that_an_agency_s_end_says_has_authority",
           "tests/core/test_link.py::test_every_state_and_event_has_a_decision")),
    Guard(24, "a withdrawn token stops its tasks", CORE + "x1.py",
          "                standing.check(task.standing, trust)\n", "                pass\n",
          ("tests/guards/test_agencies.py::test_one_agency_is_revoked_and_no_other",)),
    Guard(25, "the verifier is the same octets each time", "mediation/audit/pack.py",
          "DATE = (1980, 1, 1, 0, 0, 0)", "import time\nDATE = time.localtime(time.time_ns() // 1000)[:6]",
          ("tests/audit/test_verifier_alone.py::test_one_file_the_same_each_time",)),
    Guard(26, "the system's random source alone", ADMINISTRATION + "ledger.py",
          "salt=os.urandom(entry.SALT_OCTETS).hex()", 'salt=__import__("random").randbytes(entry.SALT_OCTETS).hex()',
          ("tests/guards/test_randomness.py::test_the_system_s_random_source_alone",)),
    Guard(26, "constants are pinned", CORE + "key.py", "P256_ORDER = 0xFFFFFFFF0", "P256_ORDER = 0xFFFFFFFE0",
          ("tests/guards/test_randomness.py::test_the_constants_of_p256",)),
    Guard(27, "a request counts once", ADMINISTRATION + "gate.py", "if opened.sha256 in self._seen:", "if False:",
          ("tests/audit/test_requests.py::test_a_replay_is_refused_and_entered",)),
    Guard(27, "acts are numbered without a gap", CORE + "authorization.py", "if command.sequence != number:",
          "if False:", (ADMIT,)),
    Guard(27, "what was stopped stays stopped", CORE + "x1.py",
          "if task.xid in self._stopped or len(self._stopped) >= self.MAX_STOPPED:", "if False:",
          ("tests/core/test_x1.py::test_what_was_stopped_is_never_armed_again",)),
    Guard(28, "the far side is the one in the order", DELIVERY + "sender.py",
          "if not hmac.compare_digest(channel.peer_sha256, self.destination.certificate_sha256):", "if False:",
          ("tests/delivery/test_far_side.py::test_another_certificate_of_the_same_authority_is_refused",)),
    Guard(28, "TLS 1.3 alone", "mediation/runtime/tls.py",
          "made.minimum_version = made.maximum_version = ssl.TLSVersion.TLSv1_3", "pass",
          ("tests/delivery/test_far_side.py::test_tls_1_2_is_refused",)),
    Guard(28, "no key, no start", "mediation/runtime/tls.py",
          "raise ConfigurationError(f\"tls: {path.name}: {error.strerror or 'not usable'}\") from error", "pass",
          ("tests/delivery/test_far_side.py::test_a_missing_file_of_the_identity_refuses_to_start",
           "tests/delivery/test_far_side.py::test_an_unreadable_key_refuses_to_start")),
    Guard(29, "case data needs a signature", CORE + "request.py",
          "        trust.verify(parts, key)\n", "        pass\n",
          ("tests/audit/test_requests.py::test_every_refusal_is_the_same_octets",)),
    Guard(29, "each function admits for itself", CORE + "signature.py", "    trust.verify(parts, key)\n", "",
          (ADMIT, "tests/faults/test_administrator_with_all_keys.py::test_it_can_only_stop[egress]")),
    Guard(30, "an emergency needs its call-back", CORE + "authorization.py",
          "if bool(call_back) is not legal.authority.emergency:", "if False:", (ADMIT,)),
    Guard(30, "at the directory's number", CORE + "call_back.py", "if contact.number != call_back.directory_number:",
          "if False:", (ADMIT,)),
    Guard(30, "by a second person", CORE + "call_back.py", "    distinct(legal_key, key)\n", "", (ADMIT,)),
    Guard(30, "it ends by itself", CORE + "term.py",
          "since_s = previous_end_s if LIMITS[authority].renewable else begin_s", "since_s = previous_end_s", (ADMIT,)),
    Guard(30, "the agency is in the registry", CORE + "authorization.py",
          "if trust.contact(order.legal.agency, entered_s) is None:", "if False:", (ADMIT,)),
    Guard(30, "a new contact waits a day", CORE + "roster.py",
          "0 if change.number == 0 else change.issued_s + CONTACT_WAIT_S", "0",
          ("tests/core/test_roster.py::test_a_new_contact_waits_a_day",)),
)  # fmt: skip

# Of the threats, those that issue and authority answer for: SEC-1 to SEC-4, SEC-12 to SEC-30.
REQUIRED: Final = frozenset({*range(1, 5), *range(12, 31)})
