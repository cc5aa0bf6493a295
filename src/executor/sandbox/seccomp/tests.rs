//! The system call filter, run as the kernel would run it.

use super::processes::{CHANGING, RANKING, SIGNAL_BY_DESCRIPTOR, SIGNALLING};
use super::*;

/// What the usual filter says to one call; the 32 bits of `SECCOMP_RET_*`.
fn answer(abi: u32, number: u32, first: u64) -> u32 {
    answer_of(&default_filter(), (abi, number), [first, 0, 0])
}

/// What a filter says to a call with these arguments.
fn answer_of<const COUNT: usize>(
    program: &[Instruction],
    (abi, number): (u32, u32),
    args: [u64; COUNT],
) -> u32 {
    let low = |argument: u64| u32::try_from(argument & 0xffff_ffff).unwrap();
    let word = |offset: u32| match offset {
        0 => number,
        4 => abi,
        16 => low(args[0]),
        20 => low(args[0] >> 32),
        24 | 32 | 40 | 48 => low(args[(offset as usize - 16) / 8]),
        other => panic!("the filter reads offset {other}"),
    };
    let (mut at, mut loaded) = (0, 0);
    loop {
        let instruction = program[at];
        at += 1;
        let operand = instruction.operand;
        let holds = match instruction.code {
            0x20 => {
                loaded = word(operand);
                continue;
            }
            0x05 => {
                at += operand as usize;
                continue;
            }
            0x54 => {
                loaded &= operand;
                continue;
            }
            0x06 => return operand,
            0x15 => loaded == operand,
            0x35 => loaded >= operand,
            0x45 => loaded & operand != 0,
            other => panic!("unknown instruction {other:#x}"),
        };
        at += usize::from(if holds {
            instruction.if_true
        } else {
            instruction.if_false
        });
    }
}

const ALLOW: u32 = 0x7fff_0000;
const REFUSE: u32 = 0x0005_0001;
const UNKNOWN: u32 = 0x0005_0026;
const KILL: u32 = 0x8000_0000;

#[cfg(target_arch = "x86_64")]
const NATIVE: u32 = 0xc000_003e;
#[cfg(target_arch = "x86_64")]
const COMPAT: u32 = 0x4000_0003;
#[cfg(target_arch = "x86_64")]
/// Name, ABI, number, first argument, answer.
const TABLE: &[(&str, u32, u32, u64, u32)] = &[
    ("read", NATIVE, 0, 0, ALLOW),
    ("write", NATIVE, 1, 0, ALLOW),
    ("execve", NATIVE, 59, 0, ALLOW),
    ("chroot", NATIVE, 161, 0, ALLOW),
    ("mknod", NATIVE, 133, 0, ALLOW),
    ("chown", NATIVE, 92, 0, ALLOW),
    ("setuid", NATIVE, 105, 0, ALLOW),
    ("setgroups", NATIVE, 116, 0, ALLOW),
    ("capset", NATIVE, 126, 0, ALLOW),
    ("prctl", NATIVE, 157, 0, ALLOW),
    ("seccomp", NATIVE, 317, 0, ALLOW),
    ("memfd_create", NATIVE, 319, 0, ALLOW),
    ("ptrace", NATIVE, 101, 0, ALLOW),
    ("close_range", NATIVE, 436, 0, ALLOW),
    ("openat2", NATIVE, 437, 0, ALLOW),
    ("fchmodat2", NATIVE, 452, 0, ALLOW),
    ("removexattrat", NATIVE, 466, 0, ALLOW),
    ("landlock_create_ruleset", NATIVE, 444, 0, ALLOW),
    ("name_to_handle_at", NATIVE, 303, 0, ALLOW),
    ("modify_ldt", NATIVE, 154, 0, ALLOW),
    ("arch_prctl", NATIVE, 158, 0, ALLOW),
    ("fork", NATIVE, 57, 0, ALLOW),
    ("vfork", NATIVE, 58, 0, ALLOW),
    ("mount", NATIVE, 165, 0, REFUSE),
    ("umount2", NATIVE, 166, 0, REFUSE),
    ("pivot_root", NATIVE, 155, 0, REFUSE),
    ("unshare", NATIVE, 272, 0, REFUSE),
    ("setns", NATIVE, 308, 0, REFUSE),
    ("open_tree", NATIVE, 428, 0, REFUSE),
    ("move_mount", NATIVE, 429, 0, REFUSE),
    ("fsopen", NATIVE, 430, 0, REFUSE),
    ("mount_setattr", NATIVE, 442, 0, REFUSE),
    ("keyctl", NATIVE, 250, 0, REFUSE),
    ("add_key", NATIVE, 248, 0, REFUSE),
    ("request_key", NATIVE, 249, 0, REFUSE),
    ("bpf", NATIVE, 321, 0, REFUSE),
    ("perf_event_open", NATIVE, 298, 0, REFUSE),
    ("userfaultfd", NATIVE, 323, 0, REFUSE),
    ("io_uring_setup", NATIVE, 425, 0, REFUSE),
    ("io_uring_enter", NATIVE, 426, 0, REFUSE),
    ("open_by_handle_at", NATIVE, 304, 0, REFUSE),
    ("init_module", NATIVE, 175, 0, REFUSE),
    ("kexec_load", NATIVE, 246, 0, REFUSE),
    ("reboot", NATIVE, 169, 0, REFUSE),
    ("swapon", NATIVE, 167, 0, REFUSE),
    ("sethostname", NATIVE, 170, 0, REFUSE),
    ("settimeofday", NATIVE, 164, 0, REFUSE),
    ("kcmp", NATIVE, 312, 0, REFUSE),
    ("pidfd_getfd", NATIVE, 438, 0, REFUSE),
    ("process_madvise", NATIVE, 440, 0, REFUSE),
    ("lsm_list_modules", NATIVE, 461, 0, REFUSE),
    ("clone3", NATIVE, 435, 0, UNKNOWN),
    ("newer than the profile", NATIVE, 467, 0, UNKNOWN),
    ("x32 read", NATIVE, 0x4000_0000, 0, UNKNOWN),
    ("clone: fork", NATIVE, 56, 17, ALLOW),
    ("clone: thread", NATIVE, 56, 0x003d_0f00, ALLOW),
    ("clone: user namespace", NATIVE, 56, 0x1000_0011, REFUSE),
    ("clone: mount namespace", NATIVE, 56, 0x0002_0000, REFUSE),
    ("socket: unix", NATIVE, 41, 1, ALLOW),
    ("socket: inet6", NATIVE, 41, 10, ALLOW),
    ("socket: netlink", NATIVE, 41, 16, ALLOW),
    ("socket: packet", NATIVE, 41, 17, ALLOW),
    ("socket: alg", NATIVE, 41, 38, REFUSE),
    ("socket: vsock", NATIVE, 41, 40, REFUSE),
    ("socket: decnet", NATIVE, 41, 12, REFUSE),
    ("socket: mctp", NATIVE, 41, 45, ALLOW),
    ("socket: newer", NATIVE, 41, 46, REFUSE),
    ("socket: high bits", NATIVE, 41, 0x1_0000_0001, REFUSE),
    ("personality: linux", NATIVE, 135, 0, ALLOW),
    ("personality: 32 bit", NATIVE, 135, 8, ALLOW),
    ("personality: uname26", NATIVE, 135, 0x2_0008, ALLOW),
    ("personality: ask", NATIVE, 135, 0xffff_ffff, ALLOW),
    (
        "personality: no randomisation",
        NATIVE,
        135,
        0x4_0000,
        REFUSE,
    ),
    ("i386 read", COMPAT, 3, 0, ALLOW),
    ("i386 socketcall", COMPAT, 102, 0, ALLOW),
    ("i386 socket alg", COMPAT, 359, 38, REFUSE),
    ("i386 mount", COMPAT, 21, 0, REFUSE),
    ("i386 unshare", COMPAT, 310, 0, REFUSE),
    ("i386 clone namespace", COMPAT, 120, 0x1000_0000, REFUSE),
    ("another machine", 0xc000_00b7, 0, 0, KILL),
];
#[cfg(target_arch = "x86_64")]
#[test]
fn sixty_calls_are_answered_as_docker_answers_them() {
    for (name, abi, number, first, expected) in TABLE {
        assert_eq!(answer(*abi, *number, *first), *expected, "{name}");
    }
}

#[test]
fn the_search_agrees_with_the_table_for_every_number() {
    for abi in ABIS {
        for number in 0..600 {
            let listed = ALLOWED
                .iter()
                .any(|(_, numbers)| numbers[abi.column] == number);
            let conditional = CONDITIONAL
                .iter()
                .any(|((_, numbers), _)| numbers[abi.column] == number);
            let allowed = answer(abi.audit, number, 0) == ALLOW;
            assert!(allowed == listed || conditional, "{number}");
        }
    }
}

#[test]
fn only_device_nodes_are_asked_about() {
    const ASK: u32 = 0x7fc0_0000;
    let Making { mknod, mknodat } = Making::HERE;
    let native = ABIS[0].audit;
    for program in [
        default_filter_with_devices(HostName::Set),
        devices_filter(HostName::Set),
    ] {
        let kinds = [
            (0o010_644, ALLOW),
            (0o020_600, ASK),
            (0o060_000, ASK),
            (0o100_644, ALLOW),
            (0o140_777, ALLOW),
            (0o644, ALLOW),
        ];
        for (mode, expected) in kinds {
            let at = answer_of(&program, (native, mknodat), [7, 8, mode]);
            assert_eq!(at, expected, "mknodat {mode:o}");
            if mknod != NONE {
                let plain = answer_of(&program, (native, mknod), [7, mode, 0]);
                assert_eq!(plain, expected, "mknod {mode:o}");
            }
        }
    }
    let program = default_filter_with_devices(HostName::Set);
    for abi in ABIS {
        let changes: BTreeMap<u32, Verdict> = Attributes::changes(abi.audit, Verdict::Ask)
            .into_iter()
            .collect();
        for number in (0..600).filter(|number| ![mknod, mknodat].contains(number)) {
            let asked = answer_of(&program, (abi.audit, number), [0; 3]);
            let expected = match changes.get(&number) {
                Some(Verdict::Ask) => ASK,
                Some(_) => UNKNOWN,
                None => answer(abi.audit, number, 0),
            };
            assert_eq!(asked, expected, "{number}");
        }
    }
}

#[test]
fn no_attribute_is_set_in_a_way_that_nobody_is_asked_about() {
    const ASK: u32 = 0x7fc0_0000;
    const UNSUPPORTED: u32 = 0x0005_005f;
    let told = [
        told_devices_filter(HostName::Set),
        single_id_filter(HostName::Set),
    ];
    let all = told.into_iter().chain([
        devices_filter(HostName::Set),
        default_filter_with_devices(HostName::Set),
    ]);
    let asking = all.map(|program| (program, ASK));
    for (program, expected) in asking.chain([(unsupervised_filter(), UNSUPPORTED)]) {
        for abi in ABIS {
            for (number, verdict) in Attributes::changes(abi.audit, Verdict::Ask) {
                let expected = if verdict == Verdict::Ask {
                    expected
                } else {
                    UNKNOWN
                };
                let said = answer_of(&program, (abi.audit, number), [0; 3]);
                assert_eq!(said, expected, "{number}");
            }
        }
        let x32 = answer_of(&program, (ABIS[0].audit, X32 + 188), [0; 3]);
        assert_eq!(x32, UNKNOWN);
    }
}

#[test]
fn other_processes_are_asked_about_or_left_alone() {
    const ASK: u32 = 0x7fc0_0000;
    let programs = [
        (asking_filter(&[], true), [ASK, REFUSE]),
        (solitary_filter(true), [REFUSE, REFUSE]),
    ];
    for (program, others) in &programs {
        for (abi, column) in ABIS.into_iter().zip(0..) {
            let say = |number, args| answer_of(program, (abi.audit, number), args);
            let other = others[column];
            for number in CHANGING[column].into_iter().chain(SIGNALLING[column]) {
                assert_eq!(say(number, [0; 3]), ALLOW, "{number}");
                assert_eq!(say(number, [7, 0, 0]), other, "{number}");
                assert_eq!(say(number, [1 << 32, 0, 0]), ALLOW, "{number}");
                assert_eq!(say(number, [u64::MAX, 0, 0]), other, "{number}");
            }
            for (number, user) in RANKING[column] {
                assert_eq!(say(number, [0; 3]), ALLOW, "{number}");
                assert_eq!(say(number, [0, 7, 0]), other, "{number}");
                assert_eq!(say(number, [user.into(), 0, 0]), REFUSE, "{number}");
            }
            assert_eq!(say(SIGNAL_BY_DESCRIPTOR, [0; 3]), other);
        }
    }
    let names = |column: usize, numbers: &[u32]| -> Vec<&str> {
        let name = |number| {
            let row = ALLOWED.iter().find(|(_, row)| row[column] == number);
            row.map_or("none", |(name, _)| *name)
        };
        numbers.iter().copied().map(name).collect()
    };
    for (column, abi) in ABIS.into_iter().enumerate() {
        let ranking = RANKING[column].map(|(number, _)| number);
        let all = [&CHANGING[column][..], &SIGNALLING[column], &ranking].concat();
        let expected = "prlimit64 sched_setaffinity sched_setattr sched_setparam sched_setscheduler \
            kill tkill tgkill rt_sigqueueinfo rt_tgsigqueueinfo setpriority ioprio_set";
        assert_eq!(names(abi.column, &all).join(" "), expected);
    }
    let program = asking_filter(&[], false);
    let kill = answer_of(&program, (ABIS[0].audit, SIGNALLING[0][0]), [7, 0, 0]);
    assert_eq!(kill, ALLOW, "Landlock looks after it");
}

#[test]
fn only_whole_paths_that_are_followed_are_looked_at() {
    const ASK: u32 = 0x7fc0_0000;
    const NOFOLLOW: u64 = 0x100;
    const EMPTY_PATH: u64 = 0x1000;
    const EACCESS: u64 = 0x200;
    let here = 0xffff_ff9c_u64;
    let program = asking_filter(&[], false);
    let native = ABIS[0].audit;
    let say = |number, args: [u64; 5]| answer_of(&program, (native, number), args);
    let asks = |is_asked| if is_asked { ASK } else { ALLOW };
    let calls = Looking::HERE;
    for (flags, follows) in [
        (0, true),
        (EACCESS, true),
        (NOFOLLOW, false),
        (EMPTY_PATH, false),
    ] {
        for (directory, is_here) in [(here, true), (here | 1 << 32, true), (3, false)] {
            let expected = asks(follows && is_here);
            let told = [
                say(calls.newfstatat, [directory, 1, 2, flags, 0]),
                say(calls.statx, [directory, 1, flags, 3, 4]),
                say(calls.faccessat2, [directory, 1, 2, flags, 0]),
            ];
            assert_eq!(told, [expected; 3], "{directory:x} {flags:x}");
            let plain = say(calls.faccessat, [directory, 1, 2, flags, 0]);
            assert_eq!(plain, asks(is_here), "{directory:x}");
        }
    }
    for (flags, follows) in [(0, false), (0x400, true), (EMPTY_PATH, false)] {
        assert_eq!(say(LINKAT, [3, 1, 2, 4, flags]), asks(follows));
    }
    for name in [
        "getxattr",
        "setxattr",
        "listxattr",
        "removexattr",
        "statfs",
        "fstatfs",
    ] {
        let asked = number_of(name, 0);
        assert_eq!(say(asked, [0; 5]), ASK, "{name}");
    }
    for name in ["lgetxattr", "fgetxattr", "lsetxattr", "fsetxattr", "fstat"] {
        assert_eq!(say(number_of(name, 0), [0; 5]), ALLOW, "{name}");
    }
    let names = [
        "newfstatat",
        "statx",
        "faccessat",
        "faccessat2",
        "statfs",
        "fstatfs",
        "linkat",
    ];
    let numbers = names.map(|name| number_of(name, 0));
    let known = [
        calls.newfstatat,
        calls.statx,
        calls.faccessat,
        calls.faccessat2,
    ];
    assert_eq!(numbers[..4], known);
    assert_eq!(numbers[4..], [calls.statfs, calls.fstatfs, LINKAT]);
    assert_eq!(
        [number_of("stat", 0), number_of("access", 0)],
        [calls.stat, calls.access]
    );
}

/// The number of a call in an ABI.
fn number_of(name: &str, abi: usize) -> u32 {
    let row = ALLOWED.iter().find(|(known, _)| *known == name);
    row.unwrap().1[ABIS[abi].column]
}

#[test]
fn no_packets_are_made_by_hand_on_a_link() {
    let program = routed_filter();
    for (abi, (socket, absent)) in ABIS.into_iter().zip(SOCKETS) {
        for family in 0..64 {
            let said = answer_of(&program, (abi.audit, socket), [family, 3, 0]);
            let expected = if matches!(family, 2 | 10 | 17 | 44) {
                REFUSE
            } else {
                ALLOW
            };
            assert_eq!(said, expected, "{family}");
        }
        for (kind, expected) in [
            (1, ALLOW),
            (2, ALLOW),
            (0x80801, ALLOW),
            (0x80803, REFUSE),
            (10, REFUSE),
        ] {
            let said = answer_of(&program, (abi.audit, socket), [2, kind, 0]);
            assert_eq!(said, expected, "{kind:x}");
        }
        for number in absent {
            let said = answer_of(&program, (abi.audit, *number), [1, 0, 0]);
            assert_eq!(said, UNKNOWN, "{number}");
        }
    }
}

#[test]
fn only_local_sockets_are_made_without_network() {
    const NO_FAMILY: u32 = 0x0005_0061;
    let program = offline_filter();
    for (abi, (socket, absent)) in ABIS.into_iter().zip(SOCKETS) {
        let families = [
            (1, ALLOW),
            (2, NO_FAMILY),
            (10, NO_FAMILY),
            (16, NO_FAMILY),
            (17, NO_FAMILY),
        ];
        for (family, expected) in families {
            // The kernel does not look at the upper half, and the filter neither.
            for upper in [0, 1 << 32] {
                let said = answer_of(&program, (abi.audit, socket), [upper | family, 0, 0]);
                assert_eq!(said, expected, "{family}");
            }
        }
        for number in 0..600 {
            let said = answer_of(&program, (abi.audit, number), [1, 0, 0]);
            let expected = if absent.contains(&number) {
                UNKNOWN
            } else {
                ALLOW
            };
            assert_eq!(said, expected, "{number}");
        }
    }
}

#[test]
fn names_are_unique_and_sorted() {
    assert!(ALLOWED.is_sorted_by(|low, high| low.0 < high.0));
}

#[test]
fn the_program_is_within_the_kernels_limit() {
    assert!(default_filter().len() < 4096);
}
