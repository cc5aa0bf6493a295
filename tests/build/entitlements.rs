//! What a build must be allowed before its commands get it.

use super::common::{Project, User};

/// Everything that a command can do with all capabilities and no filter, each on its own line.
const POWERS: &str = "grep -E '^(CapEff|CapBnd|Seccomp):' /proc/self/status; \
    mkdir -p /m && mount -t tmpfs none /m && echo inner > /m/x && cat /m/x && umount /m && rmdir /m; \
    unshare -m true && echo a namespace; hostname other && hostname";

fn project(user: Option<User>) -> Option<Project> {
    let project = Project::with_busybox()?.file("powers", POWERS);
    Some(match user {
        Some(user) => project.owned_by(user),
        None => project,
    })
}

fn dockerfile(flag: &str) -> String {
    format!("FROM busybox\nCOPY powers /\nRUN {flag} sh /powers || true\n")
}

/// The user of the tests, and ordinary ones that root may become.
fn users() -> Vec<Option<User>> {
    let mut users = vec![None];
    if User::is_root() {
        users.extend(User::with_subuids().map(Some));
    }
    users
}

#[test]
fn an_insecure_command_is_refused_unless_allowed() {
    let Some(project) = project(None) else {
        return;
    };
    let project = project.dockerfile(&dockerfile("--security=insecure"));
    let refused = project.build().failure(1);
    refused
        .says("security.insecure is not allowed")
        .says("--allow security.insecure")
        .says("Dockerfile:3")
        .does_not_say("CapEff");
    let host = "FROM busybox\nRUN --network=host true\n";
    project.put("Dockerfile", host);
    let refused = project.build().failure(1);
    refused.says("network.host is not allowed");
    project.build().flag("--allow=network.host").success();
    // One does not stand for the other.
    project.put("Dockerfile", dockerfile("--security=insecure"));
    let refused = project.build().flag("--allow=network.host").failure(1);
    refused.says("security.insecure is not allowed");
}

#[test]
fn an_insecure_command_has_all_capabilities_and_no_filter() {
    for user in users() {
        // In a user namespace one filter stays: the one that has device nodes noted.
        let filter = if user.is_some() {
            "Seccomp:\t2"
        } else {
            "Seccomp:\t0"
        };
        let Some(project) = project(user) else {
            return;
        };
        let project = project.dockerfile(&dockerfile("--security=insecure"));
        let free = project.build().flag("--allow=security.insecure").success();
        free.says(filter)
            .says("inner")
            .says("a namespace")
            .says("other");
        let all = "ffffff";
        assert!(free.stderr.contains(all), "no {all} in\n{free}");
        project.is_sound();
        // The same command without the flag is another step, and has Docker's rights.
        project.put("Dockerfile", dockerfile(""));
        let words = ["--allow=security.insecure", "--network=none"];
        let held = project.build().words(words).success();
        held.says("00000000a80425fb").says("Seccomp:\t2");
        held.does_not_say("inner").does_not_say("a namespace");
        project.put("Dockerfile", dockerfile("--security=sandbox"));
        let held = project.build().success();
        held.does_not_say("inner").does_not_say("ffffff");
    }
}

#[test]
fn an_insecure_command_of_root_opens_the_devices_that_it_makes() {
    let Some(project) = project(None).filter(|_| User::is_root()) else {
        return;
    };
    let command = "mknod -m 666 /null c 1 3 && echo x > /null && rm /null || echo ref''used";
    for (flag, refused) in [("--security=insecure", false), ("", true)] {
        project.put(
            "Dockerfile",
            format!("FROM busybox\nRUN {flag} {command}\n"),
        );
        let built = project.build().flag("--allow=security.insecure").success();
        if refused {
            built.says(" refused");
        } else {
            built.does_not_say(" refused");
        }
    }
}
