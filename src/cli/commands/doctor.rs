//! `builder doctor`

use std::fmt::Write;
use std::path::Path;

use super::super::args::DoctorArgs;
use super::super::{Stop, isolation};
use crate::executor::sandbox::Rung;
use crate::executor::sandbox::rung::{self, Ladder, RunNetwork, Standing};
use crate::failure::ExitCode;

/// Shows every rung of the isolation ladder, why one fails, and what to do; then the network that
/// RUN has. Exit code 3 if no command can run here.
pub(crate) fn doctor(args: &DoctorArgs, root: &Path) -> Result<ExitCode, Stop> {
    let ladder = isolation::ladder(root, rung::probe_anew)?;
    let network = rung::try_network(ladder.best(true), Path::new(isolation::PROGRAM));
    let text = if args.json {
        let json = serde_json::json!({
            "best": ladder.best(true),
            "verdicts": ladder.verdicts,
            "network": network,
        });
        format!("{json:#}\n")
    } else {
        report(&ladder) + &network_report(&network)
    };
    super::print(text.as_bytes())?;
    Ok(match ladder.best(true) {
        Rung::None => ExitCode::Environment,
        _ => ExitCode::Success,
    })
}

fn report(ladder: &Ladder) -> String {
    let mut text = String::new();
    for verdict in &ladder.verdicts {
        let (word, reason, remedies) = match &verdict.standing {
            Standing::Works => ("works", None, &[][..]),
            Standing::Fails { reason, remedies } => ("fails", Some(reason), remedies.as_slice()),
            Standing::NotTried { reason } => ("-", Some(reason), &[][..]),
        };
        let mut line = |text_line: String| {
            let written = writeln!(text, "{text_line}");
            debug_assert!(written.is_ok(), "a string takes any text");
        };
        line(format!("{word:<6} {}", verdict.rung.describe()));
        if let Some(reason) = reason {
            line(format!("         {reason}"));
        }
        for remedy in remedies {
            line(format!("         remedy: {remedy}"));
        }
    }
    let verdict = match ladder.best(true) {
        Rung::None => "RUN is not possible here; builds without RUN are.".to_owned(),
        best => format!("RUN uses: {}", best.describe()),
    };
    text + "\n" + &verdict + "\n"
}

fn network_report(network: &RunNetwork) -> String {
    match network {
        RunNetwork::None => String::new(),
        RunNetwork::Linked { tool } => format!("network of RUN: the build's own, by {tool}\n"),
        RunNetwork::Host { reason, remedies } => {
            let remedies: Vec<String> = remedies
                .iter()
                .map(|remedy| format!("         remedy: {remedy}\n"))
                .collect();
            format!("network of RUN: the host's\n         {reason}\n") + &remedies.concat()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::executor::sandbox::rung::Verdict;

    #[test]
    fn each_rung_has_a_line_and_its_remedies() {
        let ladder = Ladder {
            verdicts: vec![
                Verdict {
                    rung: Rung::Root,
                    standing: Standing::Fails {
                        reason: "you are not root".into(),
                        remedies: vec!["sudo".into()],
                    },
                },
                Verdict {
                    rung: Rung::UserRange,
                    standing: Standing::Works,
                },
            ],
        };
        assert_eq!(
            report(&ladder),
            "\
fails  root: all namespaces, overlay
         you are not root
         remedy: sudo
works  user namespace with subordinate ids: all namespaces, overlay

RUN uses: user namespace with subordinate ids: all namespaces, overlay
"
        );
    }

    #[test]
    fn the_network_has_a_line_and_its_remedies() {
        let linked = RunNetwork::Linked {
            tool: "pasta".into(),
        };
        let told = network_report(&linked);
        assert_eq!(told, "network of RUN: the build's own, by pasta\n");
        let host = RunNetwork::Host {
            reason: "no tool".into(),
            remedies: vec!["get one".into()],
        };
        assert_eq!(
            network_report(&host),
            "network of RUN: the host's\n         no tool\n         remedy: get one\n"
        );
    }
}
