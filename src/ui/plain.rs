//! Progress for logs, in BuildKit's plain format (`util/progress/progressui/printer.go`).
//!
//! One vertex owns the log at a time. What others say is kept until they end, until the owner
//! ends, or until the owner has had its fair share; then the owner is left with `#N ...` and the
//! other's name is repeated. Nothing is dropped, and what is kept is bounded: a vertex with much
//! to say gets the log at once.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::time::Duration;

use crate::event::{Event, Outcome, Vertex};

use super::board::{Board, Line};
use super::units;

/// The least time an owner keeps the log while others wait.
const ANTI_FLICKER: Duration = Duration::from_secs(5);
/// The longest time a vertex waits for the log.
const DELAY_MAX: Duration = Duration::from_secs(10);
/// A part is reported again after this time or after this share of its total.
const REPORT_EVERY: Duration = Duration::from_secs(5);
const REPORT_SHARE: f64 = 0.05;
/// What a vertex may have to say before it gets the log at once.
const KEPT_BYTES_MAX: usize = 64 * 1024;
/// The cut of names under `PROGRESS_NO_TRUNC=0`.
const NAME_COLUMNS: usize = 72;

/// The plain reader.
#[derive(Debug, Default)]
pub(super) struct Plain {
    /// The vertex that owns the log.
    owner: Option<Vertex>,
    /// Whether anything was printed, so that a blank line separates what comes.
    printed: bool,
    blocks: BTreeMap<Vertex, Block>,
    /// Whether long names are cut.
    truncate: bool,
}

/// What a vertex has to say, and how urgently.
#[derive(Debug, Default)]
struct Block {
    text: String,
    /// Events since it last lost the log.
    count: u32,
    /// When the first of them came.
    since: Duration,
    /// Parts as last reported: bytes and time.
    parts: BTreeMap<String, (u64, Duration)>,
}

impl Plain {
    /// A reader that cuts long names if told so.
    pub(super) fn new(truncate: bool) -> Self {
        Self {
            truncate,
            ..Self::default()
        }
    }

    /// Reads one event that the board has taken already; `lines` are the output it completed.
    pub(super) fn read(
        &mut self,
        board: &Board,
        (event, lines): (&Event, &[Line]),
        now: Duration,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let vertex = match event {
            Event::Started { vertex, .. } => {
                self.blocks.insert(*vertex, Block::default());
                *vertex
            }
            Event::Output { vertex, .. } => *vertex,
            Event::Note { vertex, text } => {
                self.say(*vertex, &super::text::clean_name(text));
                *vertex
            }
            Event::Progress { vertex, part, .. } => {
                self.report_part(board, *vertex, part, now);
                *vertex
            }
            Event::Finished {
                vertex,
                outcome,
                elapsed,
            } => {
                self.say_lines(*vertex, lines);
                self.say(*vertex, &ending(outcome, *elapsed));
                return self.close(board, *vertex, out);
            }
            Event::Notice(_) => return self.notice(board, out),
            Event::Warning(_) => return Ok(()),
        };
        self.say_lines(vertex, lines);
        self.offer(board, vertex, now, out)
    }

    fn say(&mut self, vertex: Vertex, text: &str) {
        if let Some(block) = self.blocks.get_mut(&vertex) {
            let written = writeln!(block.text, "{vertex} {text}");
            debug_assert!(written.is_ok(), "a string takes any text");
        }
    }

    fn say_lines(&mut self, vertex: Vertex, lines: &[Line]) {
        for line in lines {
            self.say(vertex, &line.stamped());
        }
    }

    /// Says how far a part is, unless that was said a moment ago.
    fn report_part(&mut self, board: &Board, vertex: Vertex, name: &str, now: Duration) {
        let (Some(part), Some(block)) = (board.part(vertex, name), self.blocks.get_mut(&vertex))
        else {
            return;
        };
        if let Some((current, time)) = block.parts.get(&part.name) {
            let moved = part.current.saturating_sub(*current);
            let small = match part.total {
                Some(total) if total > 0 => share(moved, total) < REPORT_SHARE,
                _ => true,
            };
            if !part.done && small && now.saturating_sub(*time) < REPORT_EVERY {
                return;
            }
        }
        block.parts.insert(part.name.clone(), (part.current, now));
        let text = part.describe();
        self.say(vertex, &text);
    }

    /// Prints a vertex that has ended, then lets one that has something to say own the log.
    fn close(&mut self, board: &Board, vertex: Vertex, out: &mut dyn Write) -> io::Result<()> {
        self.print(board, vertex, out)?;
        self.owner = None;
        self.blocks.remove(&vertex);
        let mut waiting = self
            .blocks
            .iter()
            .filter(|(_, block)| !block.text.is_empty());
        match waiting.next().map(|(next, _)| *next) {
            Some(next) => self.print(board, next, out),
            None => Ok(()),
        }
    }

    /// Prints what a running vertex has to say if it owns the log or may take it.
    fn offer(
        &mut self,
        board: &Board,
        vertex: Vertex,
        now: Duration,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let Some(block) = self.blocks.get_mut(&vertex) else {
            return Ok(());
        };
        if block.count == 0 {
            block.since = now;
        }
        block.count += 1;
        match self.owner {
            Some(owner) if owner != vertex && !self.may_take(owner, vertex, now) => Ok(()),
            _ => self.print(board, vertex, out),
        }
    }

    /// Whether a vertex may take the log from its owner: it has waited long, has much to say, or
    /// the owner has had its share.
    fn may_take(&self, owner: Vertex, vertex: Vertex, now: Duration) -> bool {
        let (Some(block), Some(current)) = (self.blocks.get(&vertex), self.blocks.get(&owner))
        else {
            return true;
        };
        if block.text.is_empty() {
            return false;
        }
        if block.text.len() > KEPT_BYTES_MAX || now.saturating_sub(block.since) > DELAY_MAX {
            return true;
        }
        let speed = |block: &Block| {
            let time = now.saturating_sub(block.since).as_secs_f64().max(0.001);
            f64::from(block.count) / time
        };
        let (mine, all) = (speed(current), speed(current) + speed(block));
        let others = (1.0 - mine / all).max(0.001);
        now.saturating_sub(current.since).as_secs_f64() > ANTI_FLICKER.as_secs_f64() / others
    }

    /// Makes a vertex the owner and prints what it has to say.
    fn print(&mut self, board: &Board, vertex: Vertex, out: &mut dyn Write) -> io::Result<()> {
        let mut text = String::new();
        if self.owner != Some(vertex) {
            self.leave(&mut text);
            let name = board.vertexes.get(&vertex).map_or("", |entry| &entry.name);
            let name = if self.truncate {
                super::text::fit(name, NAME_COLUMNS)
            } else {
                name.to_owned()
            };
            super::text::append(&mut text, format_args!("{vertex} {name}\n"));
        }
        self.owner = Some(vertex);
        if let Some(block) = self.blocks.get_mut(&vertex) {
            text.push_str(&block.text);
            block.text.clear();
        }
        out.write_all(text.as_bytes())
    }

    /// Ends the owner's paragraph.
    fn leave(&mut self, text: &mut String) {
        if let Some(owner) = self.owner.take() {
            super::text::append(text, format_args!("{owner} ...\n"));
            if let Some(block) = self.blocks.get_mut(&owner) {
                block.count = 0;
            }
        }
        if self.printed {
            text.push('\n');
        }
        self.printed = true;
    }

    /// Prints the newest notice as BuildKit's `#0`.
    fn notice(&mut self, board: &Board, out: &mut dyn Write) -> io::Result<()> {
        let mut text = String::new();
        self.leave(&mut text);
        let notice = board.notices.last().map_or("", String::as_str);
        super::text::append(&mut text, format_args!("#0 {notice}\n"));
        out.write_all(text.as_bytes())
    }
}

fn ending(outcome: &Outcome, elapsed: Duration) -> String {
    match outcome {
        Outcome::Done => format!("DONE {}", units::seconds(elapsed)),
        Outcome::Cached => "CACHED".to_owned(),
        Outcome::Failed(error) => format!("ERROR: {}", super::text::clean_name(error)),
        Outcome::Cancelled => "CANCELED".to_owned(),
    }
}

/// The share of a part in a whole.
#[expect(
    clippy::cast_precision_loss,
    reason = "a share for people needs few digits"
)]
fn share(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}
