//! Verdicts to instructions.

use crate::sys::seccomp::Instruction;

use super::{EPERM, Others, Verdict};

const LOAD: u16 = 0x20;
const JUMP: u16 = 0x05;
const IF_EQUAL: u16 = 0x15;
const IF_AT_LEAST: u16 = 0x35;
const IF_ANY_BIT: u16 = 0x45;
const AND: u16 = 0x54;
const RETURN: u16 = 0x06;

const ACTION_ALLOW: u32 = 0x7fff_0000;
const ACTION_ERRNO: u32 = 0x0005_0000;
const ACTION_ASK: u32 = 0x7fc0_0000;
const ACTION_KILL: u32 = 0x8000_0000;

/// Offsets in `struct seccomp_data`; the halves of an argument are for little-endian machines.
const OFFSET_NUMBER: u32 = 0;
const OFFSET_ABI: u32 = 4;
const OFFSET_FIRST_LOW: u32 = 16;
const OFFSET_FIRST_HIGH: u32 = 20;
const ARGUMENT: u32 = 8;

/// The type in a mode, and the two types that are devices.
const TYPE: u32 = 0o17_0000;
const CHARACTER_DEVICE: u32 = 0o2_0000;
const BLOCK_DEVICE: u32 = 0o6_0000;

/// The working directory, where a descriptor is expected.
const AT_FDCWD: u32 = 0xffff_ff9c;
/// `AT_SYMLINK_NOFOLLOW|AT_EMPTY_PATH`
const NOT_FOLLOWING: u32 = 0x1100;

/// `CLONE_NEWNS|NEWUTS|NEWIPC|NEWUSER|NEWPID|NEWNET|NEWCGROUP`.
const NAMESPACES: u32 = 0x7e02_0000;

/// PER_LINUX, PER_LINUX32, both with UNAME26, and "only ask".
const PERSONALITIES: [u32; 5] = [0, 8, 0x2_0000, 0x2_0008, u32::MAX];

/// Socket families that are refused although lower or equal to the newest allowed one (45, MCTP):
/// gone from the kernel, or AF_ALG (38) and AF_VSOCK (40), which reach too far.
const REFUSED_FAMILIES: [u32; 10] = [12, 19, 20, 23, 25, 34, 37, 38, 40, 46];

/// `AF_UNIX`, and the error (`EAFNOSUPPORT`) of a family that the kernel does not have.
const LOCAL_FAMILY: u32 = 1;
const NO_SUCH_FAMILY: u16 = 97;

const fn plain(code: u16, operand: u32) -> Instruction {
    jump(code, operand, 0, 0)
}

const fn jump(code: u16, operand: u32, if_true: u8, if_false: u8) -> Instruction {
    Instruction {
        code,
        if_true,
        if_false,
        operand,
    }
}

const fn errno(number: u16) -> Instruction {
    plain(RETURN, ACTION_ERRNO | number as u32)
}

/// A program that gives each ABI its own search; a process of any other ABI is killed.
pub(super) fn switch(abis: &[(u32, Vec<(u32, Verdict)>)]) -> Vec<Instruction> {
    let mut program = vec![plain(LOAD, OFFSET_ABI)];
    for (audit, ranges) in abis {
        let mut body = vec![plain(LOAD, OFFSET_NUMBER)];
        body.extend(search(ranges));
        program.push(jump(IF_EQUAL, *audit, 1, 0));
        program.push(plain(JUMP, length(&body)));
        program.extend(body);
    }
    program.push(plain(RETURN, ACTION_KILL));
    program
}

/// A binary search over ranges of the loaded value.
fn search(ranges: &[(u32, Verdict)]) -> Vec<Instruction> {
    match ranges {
        [] => vec![errno(EPERM)],
        [(_, verdict)] => leaf(*verdict),
        _ => {
            let (low, high) = ranges.split_at(ranges.len() / 2);
            let below = search(low);
            let mut program = match u8::try_from(below.len()) {
                Ok(skip) => vec![jump(IF_AT_LEAST, high[0].0, skip, 0)],
                Err(_) => vec![
                    jump(IF_AT_LEAST, high[0].0, 0, 1),
                    plain(JUMP, length(&below)),
                ],
            };
            program.extend(below);
            program.extend(search(high));
            program
        }
    }
}

/// What is done once the number is known.
fn leaf(verdict: Verdict) -> Vec<Instruction> {
    match verdict {
        Verdict::Allow => vec![plain(RETURN, ACTION_ALLOW)],
        Verdict::Errno(number) => vec![errno(number)],
        Verdict::Ask => vec![plain(RETURN, ACTION_ASK)],
        Verdict::AskDevice(argument) => ask_device(argument),
        Verdict::AskBits(argument, bits) => ask_if((IF_ANY_BIT, bits), argument),
        Verdict::AskEqual(argument, value) => ask_if((IF_EQUAL, value), argument),
        Verdict::AskOption(option) => ask_option(option),
        Verdict::AskFollowing(flags) => ask_following(flags),
        Verdict::Itself(others) => itself(others),
        Verdict::ItselfUnless(kind, others) => itself_unless(kind, others),
        // The kernel takes the family from the lower half alone.
        Verdict::LocalSocket => vec![
            plain(LOAD, OFFSET_FIRST_LOW),
            jump(IF_EQUAL, LOCAL_FAMILY, 0, 1),
            plain(RETURN, ACTION_ALLOW),
            errno(NO_SUCH_FAMILY),
        ],
        // The kernel takes both arguments from the lower halves. Raw sockets of IP, and the old packet
        // sockets (10), may write a header that says another address than the one that is routed.
        Verdict::RoutedSocket => vec![
            plain(LOAD, OFFSET_FIRST_LOW),
            jump(IF_EQUAL, PACKET_FAMILIES[0], 8, 0),
            jump(IF_EQUAL, PACKET_FAMILIES[1], 7, 0),
            jump(IF_EQUAL, IP_FAMILIES[0], 1, 0),
            jump(IF_EQUAL, IP_FAMILIES[1], 0, 4),
            plain(LOAD, OFFSET_FIRST_LOW + 8),
            jump(IF_ANY_BIT, 8, 3, 0),
            jump(IF_ANY_BIT, 1, 0, 1),
            jump(IF_ANY_BIT, 2, 1, 0),
            plain(RETURN, ACTION_ALLOW),
            errno(EPERM),
        ],
        Verdict::Clone => vec![
            plain(LOAD, OFFSET_FIRST_LOW),
            jump(IF_ANY_BIT, NAMESPACES, 1, 0),
            plain(RETURN, ACTION_ALLOW),
            errno(EPERM),
        ],
        Verdict::Personality => {
            let mut values: Vec<(u32, Verdict)> = vec![(0, Verdict::Errno(EPERM))];
            for value in PERSONALITIES {
                values.retain(|(start, _)| *start != value);
                values.push((value, Verdict::Allow));
                if let Some(next) = value.checked_add(1) {
                    values.push((next, Verdict::Errno(EPERM)));
                }
            }
            first_argument(&values)
        }
        Verdict::Socket => {
            // AF_UNSPEC (0) cannot be created; letting it through keeps the list short.
            let mut values: Vec<(u32, Verdict)> = vec![(0, Verdict::Allow)];
            for family in REFUSED_FAMILIES {
                values.retain(|(start, _)| *start != family);
                values.push((family, Verdict::Errno(EPERM)));
                values.push((family + 1, Verdict::Allow));
            }
            // Everything above the newest family is refused.
            values.pop();
            first_argument(&values)
        }
    }
}

fn ask_device(argument: u32) -> Vec<Instruction> {
    vec![
        plain(LOAD, OFFSET_FIRST_LOW + ARGUMENT * argument),
        plain(AND, TYPE),
        jump(IF_EQUAL, CHARACTER_DEVICE, 2, 0),
        jump(IF_EQUAL, BLOCK_DEVICE, 1, 0),
        plain(RETURN, ACTION_ALLOW),
        plain(RETURN, ACTION_ASK),
    ]
}

fn ask_if((test, operand): (u16, u32), argument: u32) -> Vec<Instruction> {
    vec![
        plain(LOAD, OFFSET_FIRST_LOW + ARGUMENT * argument),
        jump(test, operand, 1, 0),
        plain(RETURN, ACTION_ALLOW),
        plain(RETURN, ACTION_ASK),
    ]
}

fn ask_option([level, name]: [u32; 2]) -> Vec<Instruction> {
    vec![
        plain(LOAD, OFFSET_FIRST_LOW + ARGUMENT),
        jump(IF_EQUAL, level, 0, 2),
        plain(LOAD, OFFSET_FIRST_LOW + ARGUMENT * 2),
        jump(IF_EQUAL, name, 1, 0),
        plain(RETURN, ACTION_ALLOW),
        plain(RETURN, ACTION_ASK),
    ]
}

/// The kernel takes descriptors and flags from the lower halves alone.
fn ask_following(flags: Option<u32>) -> Vec<Instruction> {
    let mut program = vec![plain(LOAD, OFFSET_FIRST_LOW)];
    match flags {
        None => program.push(jump(IF_EQUAL, AT_FDCWD, 0, 1)),
        Some(argument) => program.extend([
            jump(IF_EQUAL, AT_FDCWD, 0, 3),
            plain(LOAD, OFFSET_FIRST_LOW + ARGUMENT * argument),
            jump(IF_ANY_BIT, NOT_FOLLOWING, 1, 0),
        ]),
    }
    program.extend([plain(RETURN, ACTION_ASK), plain(RETURN, ACTION_ALLOW)]);
    program
}

fn itself(others: Others) -> Vec<Instruction> {
    vec![
        plain(LOAD, OFFSET_FIRST_LOW),
        jump(IF_EQUAL, 0, 0, 1),
        plain(RETURN, ACTION_ALLOW),
        answer(others),
    ]
}

/// The kernel takes numbers of processes, and what they are of, from the lower halves alone.
fn itself_unless(kind: u32, others: Others) -> Vec<Instruction> {
    vec![
        plain(LOAD, OFFSET_FIRST_LOW),
        jump(IF_EQUAL, kind, 3, 0),
        plain(LOAD, OFFSET_FIRST_LOW + ARGUMENT),
        jump(IF_EQUAL, 0, 2, 0),
        answer(others),
        errno(EPERM),
        plain(RETURN, ACTION_ALLOW),
    ]
}

fn answer(others: Others) -> Instruction {
    match others {
        Others::Ask => plain(RETURN, ACTION_ASK),
        Others::Refuse => errno(EPERM),
    }
}

/// Sockets that hand frames to a device: AF_PACKET and AF_XDP.
const PACKET_FAMILIES: [u32; 2] = [17, 44];

/// AF_INET and AF_INET6.
const IP_FAMILIES: [u32; 2] = [2, 10];

/// A search over the first argument; values beyond 32 bits are refused.
fn first_argument(ranges: &[(u32, Verdict)]) -> Vec<Instruction> {
    let mut program = vec![
        plain(LOAD, OFFSET_FIRST_HIGH),
        jump(IF_EQUAL, 0, 1, 0),
        errno(EPERM),
        plain(LOAD, OFFSET_FIRST_LOW),
    ];
    program.extend(search(ranges));
    program
}

/// A jump's operand; programs are far shorter than the kernel's limit of 4096 instructions.
fn length(program: &[Instruction]) -> u32 {
    u32::try_from(program.len()).unwrap_or(u32::MAX)
}
