//! The three faces of one stream: a script of events with their times, and what is shown.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::*;
use crate::diagnostic::{Diagnostic, SourceFile, Span};
use crate::digest::Digest;
use crate::event::{Event, EventSink, Outcome, Stream, Vertex};
use crate::failure::{Explain, Failure, Kind};

/// A writer that can be looked at.
#[derive(Clone, Default)]
struct Page(Arc<Mutex<Vec<u8>>>);

impl Write for Page {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Page {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

/// A console with a clock that the test moves.
struct Stage {
    console: Arc<Console>,
    clock: Arc<AtomicU64>,
    page: Page,
}

impl Stage {
    fn new(mode: Mode) -> Self {
        Self::sized(mode, (80, 24))
    }

    fn sized(mode: Mode, size: (usize, usize)) -> Self {
        let (clock, page) = (Arc::new(AtomicU64::new(0)), Page::default());
        let time = Arc::clone(&clock);
        let options = ConsoleOptions {
            mode,
            color: false,
            output_colors: text::Colors::Strip,
            truncate: false,
            debug: false,
            interval: Duration::from_millis(100),
            epoch: Duration::from_secs(1_700_000_000),
            time: Box::new(move || Duration::from_millis(time.load(Ordering::SeqCst))),
            size: Box::new(move || size),
        };
        let console = Console::new(options, Box::new(page.clone()));
        Self {
            console,
            clock,
            page,
        }
    }

    fn at(&self, millis: u64) -> &Self {
        self.clock.store(millis, Ordering::SeqCst);
        self
    }

    fn start(&self, vertex: u32, name: &str) -> &Self {
        self.console.event(Event::Started {
            vertex: Vertex(vertex),
            name: name.to_owned(),
            id: Digest::of(name.as_bytes()),
            inputs: (1..vertex).map(Vertex).collect(),
        });
        self
    }

    fn output(&self, vertex: u32, bytes: &[u8]) -> &Self {
        self.console.event(Event::Output {
            vertex: Vertex(vertex),
            stream: Stream::Stdout,
            bytes: bytes.into(),
        });
        self
    }

    fn part(
        &self,
        vertex: u32,
        part: &str,
        (current, total): (u64, Option<u64>),
        done: bool,
    ) -> &Self {
        self.console.event(Event::Progress {
            vertex: Vertex(vertex),
            part: part.to_owned(),
            current,
            total,
            done,
        });
        self
    }

    fn note(&self, vertex: u32, text: &str) -> &Self {
        self.console.event(Event::Note {
            vertex: Vertex(vertex),
            text: text.to_owned(),
        });
        self
    }

    fn end(&self, vertex: u32, outcome: Outcome, millis: u64) -> &Self {
        self.console.event(Event::Finished {
            vertex: Vertex(vertex),
            outcome,
            elapsed: Duration::from_millis(millis),
        });
        self
    }

    fn notice(&self, text: &str) -> &Self {
        self.console.event(Event::Notice(text.to_owned()));
        self
    }

    fn finish(&self, failure: Option<&Failure>) -> String {
        self.console
            .finish(failure.map(|failure| (failure, "failed to build: failed to solve: ")));
        self.page.text()
    }
}

const FALSE: &str = "process \"/bin/sh -c false\" did not complete successfully: exit code: 1";

#[derive(Debug, thiserror::Error)]
enum TestError {
    #[error("{FALSE}")]
    Run,
    #[error("failed to pull `x`")]
    Pull(#[source] io::Error),
}

impl Explain for TestError {
    fn kind(&self) -> Kind {
        match self {
            Self::Run => Kind::User,
            Self::Pull(_) => Kind::Internal,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Run => Vec::new(),
            Self::Pull(_) => vec!["check the network".into(), "check the network".into()],
        }
    }
}

#[test]
fn plain_log_is_buildkits() {
    let stage = Stage::new(Mode::Plain);
    stage
        .start(1, "[internal] load build definition from Dockerfile")
        .part(1, "transferring dockerfile", (2, None), true)
        .end(1, Outcome::Done, 12)
        .start(2, "[1/3] FROM docker.io/library/alpine:3@sha256:00")
        .note(2, "resolve docker.io/library/alpine:3 0.2s done")
        .part(2, "sha256:ab", (0, Some(29_150_000)), false)
        .at(200)
        .part(2, "sha256:ab", (1, Some(29_150_000)), false)
        .part(2, "sha256:ab", (29_150_000, Some(29_150_000)), true)
        .end(2, Outcome::Done, 200)
        .start(3, "[2/3] RUN echo a")
        .end(3, Outcome::Cached, 0)
        .start(4, "[3/3] RUN false")
        .at(323)
        .output(4, b"out")
        .output(4, b"put \x1b]0;evil\x07line\nlast words")
        .end(4, Outcome::Failed(FALSE.into()), 150);
    let failure = Failure::from(TestError::Run);
    assert_eq!(
        stage.finish(Some(&failure)),
        "\
#1 [internal] load build definition from Dockerfile
#1 transferring dockerfile: 2B done
#1 DONE 0.0s

#2 [1/3] FROM docker.io/library/alpine:3@sha256:00
#2 resolve docker.io/library/alpine:3 0.2s done
#2 sha256:ab 0B / 29.15MB
#2 sha256:ab 29.15MB / 29.15MB 0.2s done
#2 DONE 0.2s

#3 [2/3] RUN echo a
#3 CACHED

#4 [3/3] RUN false
#4 0.123 output line
#4 0.123 last words
#4 ERROR: process \"/bin/sh -c false\" did not complete successfully: exit code: 1
------
 > [3/3] RUN false:
0.123 output line
0.123 last words
------
ERROR: failed to build: failed to solve: process \"/bin/sh -c false\" did not complete successfully: exit code: 1
"
    );
}

#[test]
fn vertexes_take_turns_in_the_plain_log() {
    let stage = Stage::new(Mode::Plain);
    stage
        .start(1, "a")
        .start(2, "b")
        .at(100)
        .output(2, b"kept\n")
        .output(1, b"shown\n")
        .end(1, Outcome::Done, 100)
        .output(2, b"now b\n")
        .start(3, "c")
        .output(3, b"c says\n")
        .end(3, Outcome::Done, 100)
        .end(2, Outcome::Cancelled, 100);
    assert_eq!(
        stage.finish(None),
        "\
#1 a
#1 0.100 shown
#1 DONE 0.1s

#2 b
#2 0.100 kept
#2 0.100 now b
#2 ...

#3 c
#3 0.000 c says
#3 DONE 0.1s

#2 b
#2 CANCELED
"
    );
}

#[test]
fn nobody_waits_for_ever_for_the_plain_log() {
    let stage = Stage::new(Mode::Plain);
    stage.start(1, "a").start(2, "b").output(2, b"first\n");
    stage.at(4_000).output(1, b"tick\n").output(2, b"second\n");
    assert!(!stage.page.text().contains("#2"));
    stage.at(12_000).output(2, b"third\n");
    let text = stage.finish(None);
    assert!(
        text.ends_with("#1 ...\n\n#2 b\n#2 0.000 first\n#2 4.000 second\n#2 12.00 third\n"),
        "{text}"
    );
}

#[test]
fn much_output_takes_the_plain_log_at_once() {
    let stage = Stage::new(Mode::Plain);
    stage.start(1, "a").start(2, "b");
    for _ in 0..100 {
        stage.output(2, format!("{}\n", "x".repeat(1000)).as_bytes());
    }
    assert!(stage.page.text().contains("#2 b\n#2 0.000 xxx"));
}

#[test]
fn notices_are_vertex_zero_of_the_plain_log() {
    let stage = Stage::new(Mode::Plain);
    stage
        .notice("isolation: root")
        .start(1, "a")
        .notice("cache is away")
        .end(1, Outcome::Done, 0);
    assert_eq!(
        stage.finish(None),
        "#0 isolation: root\n\n#1 a\n#1 ...\n\n#0 cache is away\n\n#1 a\n#1 DONE 0.0s\n"
    );
}

#[test]
fn quiet_tells_only_what_went_wrong() {
    let stage = Stage::new(Mode::Quiet);
    stage
        .start(1, "a")
        .output(1, b"x\n")
        .end(1, Outcome::Done, 1);
    assert_eq!(stage.finish(None), "");
    let stage = Stage::new(Mode::Quiet);
    stage
        .start(1, "a")
        .output(1, b"x\n")
        .end(1, Outcome::Failed("bad".into()), 1);
    let text = stage.finish(Some(&TestError::Run.into()));
    assert!(
        text.starts_with("------\n > a:\n0.000 x\n------\nERROR: "),
        "{text}"
    );
}

#[test]
fn raw_json_is_the_solve_status() {
    let stage = Stage::new(Mode::RawJson);
    stage
        .start(1, "same")
        .at(1500)
        .start(2, "same")
        .output(2, b"\xff\x1b[2J\n")
        .part(2, "transferring context", (1, Some(2)), true)
        .end(1, Outcome::Cached, 0)
        .end(2, Outcome::Failed("bad".into()), 1);
    let text = stage.finish(None);
    let lines: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 6);
    assert_eq!(
        lines[0]["vertexes"][0]["started"],
        "2023-11-14T22:13:20.000000000Z"
    );
    assert_eq!(lines[0]["vertexes"][0]["name"], "same");
    assert_ne!(
        lines[0]["vertexes"][0]["digest"],
        lines[1]["vertexes"][0]["digest"]
    );
    assert_eq!(
        lines[1]["vertexes"][0]["inputs"][0],
        lines[0]["vertexes"][0]["digest"]
    );
    assert_eq!(lines[2]["logs"][0]["data"], "/xtbMkoK");
    assert_eq!(lines[2]["logs"][0]["stream"], 1);
    assert_eq!(lines[3]["statuses"][0]["id"], "transferring context:");
    assert_eq!(
        lines[3]["statuses"][0]["completed"],
        "2023-11-14T22:13:21.500000000Z"
    );
    assert_eq!(lines[4]["vertexes"][0]["cached"], true);
    assert_eq!(lines[5]["vertexes"][0]["error"], "bad");
    assert_eq!(
        lines[5]["vertexes"][0]["completed"],
        "2023-11-14T22:13:21.500000000Z"
    );
}

#[test]
fn the_terminal_shows_one_picture() {
    let stage = Stage::sized(Mode::Tty, (60, 24));
    stage
        .start(1, "[internal] load build definition from Dockerfile")
        .end(1, Outcome::Done, 20)
        .start(2, "[1/2] FROM docker.io/library/alpine")
        .end(2, Outcome::Cached, 0)
        .start(3, "[2/2] RUN make")
        .at(1000)
        .part(3, "sha256:ab", (1, Some(2)), false);
    for line in 0..9 {
        stage.output(3, format!("\x1b[31mline {line}\n").as_bytes());
    }
    stage.console.redraw();
    assert_eq!(
        frame_lines(&stage.page.text()),
        [
            "[+] Building 1.0s (2/3)",
            " => [internal] load build definition from Dockerfi…    0.0s",
            " => CACHED [1/2] FROM docker.io/library/alpine         0.0s",
            " => [2/2] RUN make                                     1.0s",
            " => => sha256:ab 1B / 2B",
            " => => # line 3",
            " => => # line 4",
            " => => # line 5",
            " => => # line 6",
            " => => # line 7",
            " => => # line 8",
        ]
    );
    stage.end(3, Outcome::Done, 1000);
    let before = stage.page.text().len();
    let text = stage.finish(None);
    assert!(
        text[before..].starts_with("\u{1b}[?2026h\u{1b}[11A\r"),
        "the old picture is covered"
    );
    assert_eq!(
        frame_lines(&text[before..]),
        [
            "[+] Building 1.0s (3/3) FINISHED",
            " => [internal] load build definition from Dockerfi…    0.0s",
            " => CACHED [1/2] FROM docker.io/library/alpine         0.0s",
            " => [2/2] RUN make                                     1.0s",
        ]
    );
}

/// The lines of a frame without its escape sequences.
fn frame_lines(frame: &str) -> Vec<String> {
    let lines = frame
        .lines()
        .map(|line| text::clean(line.as_bytes(), text::Colors::Strip));
    lines
        .map(|line| line.trim_end().to_owned())
        .filter(|line| !line.is_empty())
        .collect()
}

#[test]
fn a_small_terminal_shows_running_vertexes_first() {
    let stage = Stage::sized(Mode::Tty, (60, 6));
    for vertex in 1..=10 {
        stage.start(vertex, &format!("step {vertex}"));
        if vertex != 2 {
            stage.end(vertex, Outcome::Done, 0);
        }
    }
    stage.console.redraw();
    let lines = frame_lines(&stage.page.text());
    let names: Vec<&str> = lines
        .iter()
        .map(|line| line.split("  ").next().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "[+] Building 0.0s (9/10)",
            " => step 2",
            " => step 8",
            " => step 9",
            " => step 10"
        ]
    );
}

#[test]
fn no_line_of_a_picture_wraps() {
    for columns in [1, 20, 33, 80] {
        let stage = Stage::sized(Mode::Tty, (columns, 24));
        stage
            .start(1, &"日本語 ".repeat(40))
            .output(1, "é".repeat(500).as_bytes())
            .output(1, b"\n");
        stage.console.redraw();
        for line in frame_lines(&stage.page.text()) {
            assert!(text::width(&line) < columns.max(20), "{line}");
        }
    }
}

fn dockerfile() -> Arc<SourceFile> {
    SourceFile::new(
        "Dockerfile",
        "FROM scratch\nRUN a\r\n\tCOPPY 日本 /app\nRUN \\\n  b \\\n  c\n",
    )
}

fn drawn(diagnostic: Diagnostic) -> String {
    let mut out = Vec::new();
    render::diagnostics(&[diagnostic], Style::default(), &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn a_diagnostic_has_place_excerpt_and_help() {
    let source = dockerfile();
    let at = source.text.find("COPPY").unwrap();
    let diagnostic = Diagnostic::error(
        "unknown-instruction",
        &source,
        Span::new(at, at + 5),
        "unknown instruction `COPPY`",
    );
    assert_eq!(
        drawn(diagnostic.help("did you mean `COPY`?")),
        "\
error[unknown-instruction]: unknown instruction `COPPY`
 --> Dockerfile:3:2
  |
3 |     COPPY 日本 /app
  |     ^^^^^ help: did you mean `COPY`?
"
    );
}

#[test]
fn any_span_of_any_text_can_be_drawn() {
    let long = "x".repeat(100_000);
    let texts = [
        "",
        "\n",
        "a",
        "é\n\u{1b}[2J\u{202e}b\n",
        "a\r\nb\r\n",
        &long,
        "\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n",
    ];
    for text in texts {
        let source = SourceFile::new("Dock\u{1b}[2Jerfile", text);
        for (start, end) in [
            (0, 0),
            (0, 1),
            (1, 2),
            (0, text.len()),
            (text.len(), text.len()),
            (5, 2),
            (999_999, 1_000_000),
        ] {
            let text = drawn(Diagnostic::warning(
                "c",
                &source,
                Span::new(start, end),
                "m",
            ));
            assert!(text.starts_with("warning[c]: m\n"), "{text}");
            assert!(text.len() < 20_000);
            assert!(
                text.chars().all(|c| c == '\n' || !c.is_control()),
                "{text:?}"
            );
        }
    }
}

#[test]
fn failures_have_causes_and_hints() {
    let failure = Failure::from(TestError::Pull(io::Error::other("refused\nby \x1b[2Jhost")));
    let mut out = Vec::new();
    render::failure(&failure, "", Style::default(), &mut out).unwrap();
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "\
ERROR: failed to pull `x`
Caused by:
  refused
  by host

hint: check the network
hint: this is a bug in builder; please report it with the command and this text
"
    );
}

#[test]
fn warnings_come_once_at_the_end_also_of_a_failed_build() {
    let source = dockerfile();
    let warning = Diagnostic::warning("FromAsCasing", &source, Span::new(0, 4), "casing");
    for failure in [None, Some(Failure::from(TestError::Run))] {
        let stage = Stage::new(Mode::Plain);
        stage
            .console
            .event(Event::Warning(Box::new(warning.clone())));
        let text = stage.finish(failure.as_ref());
        assert_eq!(text.matches("FromAsCasing: casing (line 1)").count(), 1);
        assert!(
            text.starts_with("\n 1 warning found (use --debug to expand):\n - FromAsCasing"),
            "{text}"
        );
    }
}

#[test]
fn what_is_held_back_is_told_at_release_or_never() {
    let stage = Stage::new(Mode::Plain);
    stage.console.hold();
    stage.start(1, "a");
    assert_eq!(stage.page.text(), "");
    stage.console.release();
    stage.end(1, Outcome::Done, 0);
    assert_eq!(stage.finish(None), "#1 a\n#1 DONE 0.0s\n");
    let held = Stage::new(Mode::Plain);
    held.console.hold();
    held.start(1, "a");
    assert_eq!(held.finish(None), "#1 a\n");
}

#[test]
fn a_reader_that_has_gone_ends_the_show_and_not_the_build() {
    struct Gone;
    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let options = ConsoleOptions {
        mode: Mode::Plain,
        color: true,
        output_colors: text::Colors::Keep,
        truncate: true,
        debug: true,
        interval: Duration::from_millis(1),
        epoch: Duration::ZERO,
        time: Box::new(|| Duration::ZERO),
        size: Box::new(|| (80, 24)),
    };
    let console = Console::new(options, Box::new(Gone));
    console.event(Event::Notice("x".into()));
    console.event(Event::Notice("y".into()));
    console.finish(None);
}
