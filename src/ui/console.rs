//! The sink of a build's events: one board, one reader, one writer.

use std::fmt;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::event::{Event, EventSink};
use crate::failure::Failure;

use super::board::{Board, Entry, Line};
use super::plain::Plain;
use super::rawjson::RawJson;
use super::render::{self, Style};
use super::text::Colors;
use super::tty::Tty;

/// How a build is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Lines for a log.
    Plain,
    /// A live view on a terminal.
    Tty,
    /// BuildKit's solve status as JSON.
    RawJson,
    /// Nothing but what went wrong.
    Quiet,
}

/// Time since the console started.
pub type Time = Box<dyn Fn() -> Duration + Send + Sync>;
/// Columns and rows of the terminal.
pub type Size = Box<dyn Fn() -> (usize, usize) + Send + Sync>;

/// What a console needs to know.
pub struct ConsoleOptions {
    /// How the build is shown.
    pub mode: Mode,
    /// Whether colours are allowed.
    pub color: bool,
    /// Whether colours in the output of RUN steps stay in a log.
    pub output_colors: Colors,
    /// Whether long names are cut in plain mode (`PROGRESS_NO_TRUNC=0`).
    pub truncate: bool,
    /// Whether warnings are drawn with their excerpts.
    pub debug: bool,
    /// Time between two pictures on a terminal.
    pub interval: Duration,
    /// The wall clock when the console starts, since 1970; for raw JSON.
    pub epoch: Duration,
    /// Time since the console started.
    pub time: Time,
    /// The terminal's size, asked for each picture.
    pub size: Size,
}

impl fmt::Debug for ConsoleOptions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { mode, color, .. } = self;
        write!(
            formatter,
            "ConsoleOptions {{ mode: {mode:?}, color: {color}, .. }}"
        )
    }
}

/// Shows a build. Give it to [`crate::event::Reporter::new`], and call [`Console::finish`] once
/// when the build has ended. Errors of the writer end the show, not the build.
pub struct Console {
    show: Mutex<Show>,
    ended: Condvar,
    options: ConsoleOptions,
}

struct Show {
    board: Board,
    reader: Reader,
    /// `None` once writing has failed.
    out: Option<Box<dyn Write + Send>>,
    /// What is kept back, while it is.
    held: Option<Vec<u8>>,
    ended: bool,
}

enum Reader {
    Plain(Plain),
    Tty(Tty),
    RawJson(RawJson),
    Quiet,
}

impl fmt::Debug for Console {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Console")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl Console {
    /// A console that writes to `out`, which is standard error in earnest.
    pub fn new(options: ConsoleOptions, out: Box<dyn Write + Send>) -> Arc<Self> {
        // On a terminal, output is cut to fit and drawn dim: colours would leak out of the cut.
        let colors = match options.mode {
            Mode::Tty => Colors::Strip,
            _ => options.output_colors,
        };
        let reader = match options.mode {
            Mode::Plain => Reader::Plain(Plain::new(options.truncate)),
            Mode::Tty => Reader::Tty(Tty::new(options.color)),
            Mode::RawJson => Reader::RawJson(RawJson::new(options.epoch)),
            Mode::Quiet => Reader::Quiet,
        };
        Arc::new(Self {
            show: Mutex::new(Show {
                board: Board::new(colors),
                reader,
                out: Some(out),
                held: None,
                ended: false,
            }),
            ended: Condvar::new(),
            options,
        })
    }

    /// Starts the thread that redraws a terminal while time passes; other modes need none.
    pub fn animate(self: &Arc<Self>) {
        if self.options.mode != Mode::Tty {
            return;
        }
        let console = Arc::clone(self);
        let thread = std::thread::Builder::new().name("progress".into());
        // Without the thread the picture is drawn only at the end: less lively, still right.
        drop(thread.spawn(move || console.redraw_until_ended()));
    }

    fn redraw_until_ended(&self) {
        let mut show = self.lock();
        while !show.ended {
            let wait = self.ended.wait_timeout(show, self.options.interval);
            show = wait.unwrap_or_else(PoisonError::into_inner).0;
            if !show.ended {
                self.draw(&mut show);
            }
        }
    }

    fn draw(&self, show: &mut Show) {
        let Show {
            board, reader, out, ..
        } = show;
        if let Reader::Tty(tty) = reader
            && show.held.is_none()
        {
            let (now, size) = ((self.options.time)(), (self.options.size)());
            attempt(out, |out| tty.draw(board, now, size, out));
        }
    }

    /// Keeps back what would be written from now on: this process may be replaced by one that
    /// does and tells everything again.
    pub fn hold(&self) {
        self.lock().held.get_or_insert_default();
    }

    /// Writes what was kept back, and keeps back no more. [`Console::finish`] does it too.
    pub fn release(&self) {
        self.lock().release();
    }

    /// Draws a picture now if this is a terminal. Tests call it instead of waiting.
    pub fn redraw(&self) {
        self.draw(&mut self.lock());
    }

    /// Ends the show: the last picture, the last output of what failed, warnings, and the
    /// failure, whose line starts with the given words (`failed to build: failed to solve: `).
    /// Call it once.
    pub fn finish(&self, failure: Option<(&Failure, &str)>) {
        let mut show = self.lock();
        show.ended = true;
        show.release();
        self.ended.notify_all();
        let Show {
            board, reader, out, ..
        } = &mut *show;
        if let Reader::Tty(tty) = reader {
            let (now, size) = ((self.options.time)(), (self.options.size)());
            let failed = failure.is_some();
            attempt(out, |out| tty.finish(board, now, (size, failed), out));
        }
        attempt(out, |out| self.report(board, failure, out));
    }

    fn report(
        &self,
        board: &Board,
        failure: Option<(&Failure, &str)>,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let style = Style {
            color: self.options.color,
            width: (self.options.mode == Mode::Tty).then(|| (self.options.size)().0),
        };
        if failure.is_some() {
            for entry in board.failed() {
                last_output(entry, out)?;
            }
        }
        if matches!(self.options.mode, Mode::Plain | Mode::Tty) {
            render::warnings(&board.warnings, style, self.options.debug, out)?;
        }
        if let Some((failure, prefix)) = failure {
            render::failure(failure, prefix, style, out)?;
        }
        out.flush()
    }

    fn lock(&self) -> MutexGuard<'_, Show> {
        self.show.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EventSink for Console {
    fn event(&self, event: Event) {
        let mut show = self.lock();
        let now = (self.options.time)();
        let Show {
            board,
            reader,
            out,
            held,
            ..
        } = &mut *show;
        let lines: Vec<Line> = board.take(&event, now);
        let mut write = |out: &mut dyn Write| match reader {
            Reader::Plain(plain) => plain.read(board, (&event, &lines), now, out),
            Reader::RawJson(json) => json.read(board, &event, now, out),
            Reader::Tty(tty) => {
                tty.read(&event, &lines);
                Ok(())
            }
            Reader::Quiet => Ok(()),
        };
        match held {
            // Writing into memory does not fail.
            Some(held) => drop(write(held)),
            None => attempt(out, write),
        }
    }
}

impl Show {
    fn release(&mut self) {
        if let Some(held) = self.held.take() {
            attempt(&mut self.out, |out| out.write_all(&held));
        }
    }
}

/// Writes; after the first error (the reader of our output has gone) nothing is written any more.
fn attempt(
    out: &mut Option<Box<dyn Write + Send>>,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) {
    if let Some(writer) = out
        && write(writer.as_mut()).is_err()
    {
        *out = None;
    }
}

/// The block that shows what a failed vertex said last.
fn last_output(entry: &Entry, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "------\n > {}:", entry.name)?;
    for line in &entry.tail {
        writeln!(out, "{}", line.stamped())?;
    }
    writeln!(out, "------")
}
