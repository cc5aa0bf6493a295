//! Windows images: everything but RUN, in layers that Windows takes.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::Path;

use serde_json::{Value, json};

use super::image::tool;
use crate::common::{Outcome, Project, write_layout};

const VERSION: &str = "10.0.20348.2113";

/// A base as Microsoft's are: files below `Files`, the registry in `Hives`, records of Windows.
fn base(directory: &Path) {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, content) in [
        ("Files", None),
        ("Files/Windows", None),
        ("Files/Windows/System32", None),
        ("Files/Windows/System32/cmd.exe", Some("MZ cmd")),
        ("Files/License.txt", Some("terms")),
        ("Hives", None),
        ("Hives/System_Delta", Some("regf")),
        ("UtilityVM", None),
    ] {
        let attributes: &[u8] = if content.is_some() { b"32" } else { b"16" };
        let record = [("MSWINDOWS.fileattr", attributes)];
        tar.append_pax_extensions(record).unwrap();
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(match content {
            Some(_) => tar::EntryType::Regular,
            None => tar::EntryType::Directory,
        });
        header.set_path(path).unwrap();
        header.set_mode(0o755);
        header.set_size(u64::try_from(content.unwrap_or("").len()).unwrap());
        header.set_cksum();
        tar.append(&header, content.unwrap_or("").as_bytes())
            .unwrap();
    }
    let config = json!({
        "architecture": "amd64",
        "os": "windows",
        "os.version": VERSION,
        "config": { "WorkingDir": "C:\\Users", "Cmd": ["c:\\windows\\system32\\cmd.exe"], "User": "ContainerUser" },
        "history": [{ "created_by": "Apply image 10.0" }],
    });
    write_layout(directory, &tar.into_inner().unwrap(), config);
}

fn project() -> Project {
    let project = Project::new();
    let nano = project.path("nano");
    fs::create_dir(&nano).unwrap();
    base(&nano);
    project.flag(&format!(
        "--build-context=nano=oci-layout://{}",
        nano.display()
    ))
}

/// One member of a layer: its records, its mode and its content.
#[derive(Debug)]
struct Member {
    records: BTreeMap<String, String>,
    mode: u32,
    content: String,
}

/// The image that a build wrote: its config, and the members of each layer in their order.
struct Image {
    config: Value,
    layers: Vec<Vec<(String, Member)>>,
}

fn build(project: &Project, words: &[&str]) -> (Outcome, Image) {
    let layout = project.path("layout");
    drop(fs::remove_dir_all(&layout));
    let spec = format!(
        "type=oci,dest={},tar=false,compression=uncompressed",
        layout.display()
    );
    let built = project.build().words(words).tag("x").output_to(&spec);
    let built = built.success();
    project.is_sound();
    let blob = |digest: &Value| {
        let hex = digest.as_str().unwrap().trim_start_matches("sha256:");
        fs::read(layout.join("blobs/sha256").join(hex)).unwrap()
    };
    let json = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap();
    let index = json(&fs::read(layout.join("index.json")).unwrap());
    let manifest = json(&blob(&index["manifests"][0]["digest"]));
    let reference = format!("oci:{}:latest", layout.display());
    let inspect = [
        "--override-os=windows",
        "inspect",
        "--config",
        "--raw",
        &reference,
    ];
    let config = json(&tool("skopeo", &inspect).stdout);
    let layers = manifest["layers"].as_array().unwrap().iter();
    let layers = layers.map(|layer| members(&blob(&layer["digest"])));
    let layers = layers.collect();
    (built, Image { config, layers })
}

fn members(bytes: &[u8]) -> Vec<(String, Member)> {
    let mut archive = tar::Archive::new(bytes);
    let entries = archive.entries().unwrap();
    let read = |entry: Result<tar::Entry<'_, _>, _>| {
        let mut entry: tar::Entry<'_, &[u8]> = entry.unwrap();
        let mut records = BTreeMap::new();
        for record in entry.pax_extensions().unwrap().into_iter().flatten() {
            let record = record.unwrap();
            let (key, value) = (record.key().unwrap(), record.value().unwrap());
            records.insert(key.to_owned(), value.to_owned());
        }
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        let content = String::from_utf8_lossy(&content).into_owned();
        let name = entry.path().unwrap().display().to_string();
        let mode = entry.header().mode().unwrap();
        let member = Member {
            records,
            mode,
            content,
        };
        (name, member)
    };
    entries.map(read).collect()
}

fn names(layer: &[(String, Member)]) -> Vec<&str> {
    layer.iter().map(|(name, _)| name.as_str()).collect()
}

#[test]
fn files_come_to_a_windows_base_in_layers_of_its_form() {
    let project = project().file("app.exe", "MZ app").file("dir/x.txt", "x");
    let project = project.dockerfile(
        r"
        # escape=`
        FROM nano
        WORKDIR C:\app
        COPY app.exe .
        COPY dir C:\Windows\System32\
        ADD --chown=1:2 app.exe License.txt
        ENV Path=C:\app
        ENTRYPOINT app.exe
        ",
    );
    let (built, image) = build(&project, &["--platform=windows/amd64"]);
    assert_eq!(image.config["os"], "windows");
    assert_eq!(image.config["os.version"], VERSION);
    let config = &image.config["config"];
    assert_eq!(config["WorkingDir"], r"\app");
    assert_eq!(config["Env"], json!([r"Path=C:\app"]));
    assert_eq!(config["Entrypoint"], json!(["cmd", "/S", "/C", "app.exe"]));
    assert_eq!(config["User"], "ContainerUser");

    assert_eq!(image.layers.len(), 5);
    assert_eq!(names(&image.layers[1]), ["Files/", "Files/app/", "Hives/"]);
    assert_eq!(
        names(&image.layers[2]),
        ["Files/", "Files/app/", "Files/app/app.exe", "Hives/"]
    );
    assert_eq!(
        names(&image.layers[3]),
        [
            "Files/",
            "Files/Windows/",
            "Files/Windows/System32/",
            "Files/Windows/System32/x.txt",
            "Hives/"
        ]
    );
    let (_, program) = &image.layers[2][2];
    assert_eq!(program.content, "MZ app");
    assert_eq!(program.mode, 0o100_644);
    assert_eq!(program.records["MSWINDOWS.fileattr"], "32");
    assert!(program.records["MSWINDOWS.rawsd"].starts_with("AQAEgBQAAAAkAAAA"));
    assert!(program.records.contains_key("LIBARCHIVE.creationtime"));
    let (_, directory) = &image.layers[2][1];
    assert_eq!(directory.mode, 0o40_755);
    assert_eq!(directory.records["MSWINDOWS.fileattr"], "16");
    assert_ne!(
        directory.records["MSWINDOWS.rawsd"],
        program.records["MSWINDOWS.rawsd"]
    );
    let (_, frame) = &image.layers[2][3];
    assert!(!frame.records.contains_key("MSWINDOWS.rawsd"));

    // Again from the cache, and again from nothing: the same image.
    let again = build(&project, &["--platform=windows/amd64"]).0;
    again.all_cached();
    project.forget_store();
    let anew = build(&project, &["--platform=windows/amd64"]).0;
    assert_eq!(again.digest(), built.digest());
    assert_eq!(anew.digest(), built.digest());
}

#[test]
fn files_come_out_of_windows_stages_and_images() {
    let Some(_) = Project::with_busybox() else {
        return;
    };
    let busybox = crate::common::busybox_layout().unwrap();
    let project = project().flag(&format!(
        "--build-context=busybox=oci-layout://{}",
        busybox.display()
    ));
    let project = project.file("app.exe", "MZ app").dockerfile(
        r"
        FROM --platform=windows/amd64 nano AS made
        COPY app.exe C:/app/
        FROM --platform=windows/amd64 made AS again
        COPY --from=made app/app.exe /Windows/copy.exe
        FROM busybox
        COPY --from=again / /all/
        RUN --mount=from=again,source=Windows,target=/mnt \
            cat /all/Windows/System32/cmd.exe /all/app/app.exe /mnt/copy.exe > /seen; ls /all /mnt
        ",
    );
    let (built, image) = build(&project, &[]);
    built.says("License.txt").says("System32").says("copy.exe");
    built.does_not_say("Hives").does_not_say("Files");
    assert_eq!(image.config["os"], "linux");
    let seen = image.layers.last().unwrap();
    let (_, seen) = seen.iter().find(|(name, _)| name == "seen").unwrap();
    assert_eq!(seen.content, "MZ cmdMZ appMZ app");
    let copied = &image.layers[1];
    assert!(names(copied).contains(&"all/Windows/System32/cmd.exe"));
    assert!(copied.iter().all(|(_, member)| {
        let mut keys = member.records.keys();
        keys.all(|key| !key.starts_with("MSWINDOWS"))
    }));
}

#[test]
fn the_files_of_a_windows_image_are_put_out_without_its_frame() {
    let project = project().file("app.exe", "MZ app");
    let project = project.dockerfile("FROM nano\nCOPY app.exe in\\\\place.exe\n");
    let target = project.path("files");
    let build = project.build().flag("--platform=windows/amd64");
    build
        .output_to(&format!("type=local,dest={}", target.display()))
        .success();
    let copied = target.join("Users/in/place.exe");
    assert_eq!(fs::read(copied).unwrap(), b"MZ app");
    assert_eq!(fs::read(target.join("License.txt")).unwrap(), b"terms");
    assert!(!target.join("Files").exists() && !target.join("Hives").exists());
}

#[test]
fn an_image_for_windows_can_begin_with_nothing() {
    let project = Project::new().file("app.exe", "MZ app");
    let project = project.dockerfile("FROM scratch\nCOPY app.exe /\n");
    let (_, image) = build(&project, &["--platform=windows/arm64"]);
    assert_eq!(
        names(&image.layers[0]),
        ["Files/", "Files/app.exe", "Hives/"]
    );
    assert_eq!(image.config["architecture"], "arm64");
    assert_eq!(image.config["config"]["WorkingDir"], "\\");
    let (_, linux) = build(&project, &["--platform=linux/arm64"]);
    assert_eq!(names(&linux.layers[0]), ["app.exe"]);
}

#[test]
fn an_index_tells_the_version_of_windows() {
    let project = project().file("app", "x").dockerfile(
        "
        FROM nano AS on-windows
        FROM scratch AS on-linux
        FROM on-$TARGETOS
        COPY app /
        ",
    );
    let archive = project.path("both.tar");
    let platforms = project.build().flag("--platform=windows/amd64,linux/amd64");
    platforms
        .output_to(&format!("type=oci,dest={}", archive.display()))
        .success();
    let reference = format!("oci-archive:{}", archive.display());
    let index = tool("skopeo", &["inspect", "--raw", &reference]).stdout;
    let index: Value = serde_json::from_slice(&index).unwrap();
    let platforms = index["manifests"].as_array().unwrap().iter();
    let platforms: Vec<&Value> = platforms.map(|entry| &entry["platform"]).collect();
    let windows = json!({ "architecture": "amd64", "os": "windows", "os.version": VERSION });
    let linux = json!({ "architecture": "amd64", "os": "linux" });
    assert_eq!(platforms, [&windows, &linux]);
}

#[test]
fn what_windows_images_cannot_have_is_refused_at_its_place() {
    for (line, words) in [
        (
            "RUN dir",
            "RUN for windows/amd64 is not supported\n --> Dockerfile:2:1",
        ),
        ("RUN dir", "in a stage for linux and COPY --from it"),
        (
            "COPY app.exe D:/app/",
            "The specified path is not on the system drive (C:)\n --> Dockerfile:2:14",
        ),
        ("WORKDIR //server/share", "UNC paths are not supported"),
        ("WORKDIR C:", "No relative path specified in \"C:\""),
    ] {
        let project = project().file("app.exe", "MZ app");
        let project = project.dockerfile(&format!("FROM nano\n{line}\n"));
        let build = project.build().flag("--platform=windows/amd64");
        build.failure(1).says(words);
    }
}
