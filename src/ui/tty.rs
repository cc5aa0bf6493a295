//! Progress on a terminal: a picture that is redrawn in place and collapses at the end.
//!
//! ```text
//! [+] Building 1.2s (2/3)
//!  => [internal] load build definition from Dockerfile          0.0s
//!  => CACHED [1/2] FROM docker.io/library/alpine                0.0s
//!  => [2/2] RUN make                                            1.0s
//!  => => # cc -c main.c
//! ```
//!
//! A picture is one write: cursor up over the last one, the new lines, the rest cleared. Its
//! lines never wrap, and if the terminal has become narrower since the last picture, the rows
//! that the old lines take now are counted.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Write};
use std::time::Duration;

use anstyle::{AnsiColor, Style};

use crate::event::{Event, Outcome, Vertex};

use super::board::{Board, Entry, Line};
use super::{text, units};

/// Lines of output shown of a running vertex.
const OUTPUT_LINES: usize = 6;
/// Moving parts shown of a running vertex.
const PARTS: usize = 5;
/// Columns for the time at the right.
const TIME_COLUMNS: usize = 8;

/// The terminal reader.
#[derive(Debug)]
pub(super) struct Tty {
    color: bool,
    /// The widths of the lines of the last picture.
    drawn: Vec<usize>,
    /// The last lines of output or notes of running vertexes.
    recent: BTreeMap<Vertex, VecDeque<String>>,
}

/// One line of a picture.
struct Row {
    text: String,
    time: Option<Duration>,
    style: Style,
}

impl Tty {
    pub(super) fn new(color: bool) -> Self {
        Self {
            color,
            drawn: Vec::new(),
            recent: BTreeMap::new(),
        }
    }

    /// Reads one event that the board has taken already. Draws nothing: pictures come in time.
    pub(super) fn read(&mut self, event: &Event, lines: &[Line]) {
        match event {
            Event::Output { vertex, .. } => {
                for line in lines {
                    self.remember(*vertex, format!("# {}", line.text));
                }
            }
            Event::Note { vertex, text } => self.remember(*vertex, text::clean_name(text)),
            Event::Finished { vertex, .. } => {
                self.recent.remove(vertex);
            }
            _ => {}
        }
    }

    fn remember(&mut self, vertex: Vertex, line: String) {
        let lines = self.recent.entry(vertex).or_default();
        if lines.len() == OUTPUT_LINES {
            lines.pop_front();
        }
        lines.push_back(line);
    }

    /// Draws the picture of what goes on.
    pub(super) fn draw(
        &mut self,
        board: &Board,
        now: Duration,
        (columns, rows): (usize, usize),
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let room = rows.saturating_sub(2).max(1);
        let mut picture = vec![header(board, now, "")];
        picture.extend(self.live_rows(board, now, room));
        self.put(&picture, columns, out)
    }

    /// Draws the last picture: every vertex on one line, no output.
    pub(super) fn finish(
        &mut self,
        board: &Board,
        now: Duration,
        ((columns, _), failed): ((usize, usize), bool),
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let mut picture = vec![header(board, now, if failed { "" } else { " FINISHED" })];
        picture.extend(
            board
                .notices
                .iter()
                .map(|notice| Row::plain(format!(" {notice}"))),
        );
        picture.extend(board.vertexes.values().map(|entry| entry_row(entry, now)));
        self.put(&picture, columns, out)?;
        self.drawn.clear();
        Ok(())
    }

    /// What fits into `room` rows: all vertexes if they do, else the running ones first and then
    /// those that ended last; what is left is shared by the output of the running ones.
    fn live_rows(&self, board: &Board, now: Duration, room: usize) -> Vec<Row> {
        let running = |entry: &Entry| entry.outcome.is_none();
        let mut chosen: Vec<(&Vertex, &Entry)> = board
            .vertexes
            .iter()
            .filter(|(_, entry)| running(entry))
            .take(room)
            .collect();
        let ended = board
            .vertexes
            .iter()
            .rev()
            .filter(|(_, entry)| !running(entry));
        chosen.extend(ended.take(room - chosen.len()));
        chosen.sort_by_key(|(vertex, _)| **vertex);

        let mut left = room - chosen.len();
        let mut talking = chosen.iter().filter(|(_, entry)| running(entry)).count();
        let mut picture = Vec::new();
        for (vertex, entry) in chosen {
            picture.push(entry_row(entry, now));
            if running(entry) {
                let share = left / talking.max(1);
                let details = self.details(*vertex, entry, share);
                left -= details.len();
                talking -= 1;
                picture.extend(details);
            }
        }
        picture
    }

    /// The moving parts and last lines of a running vertex, at most `room`.
    fn details(&self, vertex: Vertex, entry: &Entry, room: usize) -> Vec<Row> {
        let moving = entry.parts.iter().filter(|part| !part.done);
        let mut rows: Vec<Row> = moving
            .take(PARTS.min(room))
            .map(|part| Row::plain(format!(" => => {}", part.describe())))
            .collect();
        if let Some(lines) = self.recent.get(&vertex) {
            let skipped = lines.len().saturating_sub(room - rows.len());
            let lines = lines.iter().skip(skipped);
            rows.extend(lines.map(|line| Row {
                style: Style::new().dimmed(),
                ..Row::plain(format!(" => => {line}"))
            }));
        }
        rows
    }

    /// Writes a picture over the last one.
    fn put(&mut self, picture: &[Row], columns: usize, out: &mut dyn Write) -> io::Result<()> {
        let columns = columns.max(20);
        // Synchronised update: terminals that know it show the picture at once.
        let mut frame = String::from("\u{1b}[?2026h");
        let rows: usize = self
            .drawn
            .iter()
            .map(|width| width.div_ceil(columns).max(1))
            .sum();
        if rows > 0 {
            text::append(&mut frame, format_args!("\u{1b}[{rows}A\r"));
        }
        self.drawn.clear();
        for row in picture {
            let line = row.layout(columns);
            self.drawn.push(text::width(&line));
            if self.color && row.style != Style::new() {
                text::append(
                    &mut frame,
                    format_args!("{}{line}{:#}\u{1b}[K\n", row.style, row.style),
                );
            } else {
                text::append(&mut frame, format_args!("{line}\u{1b}[K\n"));
            }
        }
        frame.push_str("\u{1b}[J\u{1b}[?2026l");
        out.write_all(frame.as_bytes())?;
        out.flush()
    }
}

impl Row {
    fn plain(text: String) -> Self {
        Self {
            text,
            time: None,
            style: Style::new(),
        }
    }

    /// The line in at most `columns - 1` columns, so that no terminal wraps it.
    fn layout(&self, columns: usize) -> String {
        let columns = columns - 1;
        let Some(time) = self.time else {
            return text::fit(&self.text, columns);
        };
        let label = text::fit(&self.text, columns - TIME_COLUMNS);
        let padding = columns - TIME_COLUMNS - text::width(&label);
        let time = units::seconds(time);
        format!("{label}{:padding$}{time:>TIME_COLUMNS$}", "")
    }
}

fn header(board: &Board, now: Duration, ending: &str) -> Row {
    let ended = board
        .vertexes
        .values()
        .filter(|entry| entry.outcome.is_some())
        .count();
    let (time, all) = (units::seconds(now), board.vertexes.len());
    Row::plain(format!("[+] Building {time} ({ended}/{all}){ending}"))
}

fn entry_row(entry: &Entry, now: Duration) -> Row {
    let color = |color: AnsiColor| color.on_default();
    let (word, time, style) = match &entry.outcome {
        None => ("", now.saturating_sub(entry.started), Style::new()),
        Some((Outcome::Done, time)) => ("", *time, color(AnsiColor::Blue)),
        Some((Outcome::Cached, time)) => ("CACHED ", *time, color(AnsiColor::Blue)),
        Some((Outcome::Failed(_), time)) => ("ERROR ", *time, color(AnsiColor::Red)),
        Some((Outcome::Cancelled, time)) => ("CANCELED ", *time, color(AnsiColor::Yellow)),
    };
    Row {
        text: format!(" => {word}{}", entry.name),
        time: Some(time),
        style,
    }
}
