//! The isolation ladder and files of several names: a step that changes such a file of a layer below
//! changes it under one name, as on an overlay.

use crate::common::Project;
use crate::ladder::Place;

/// Builds a Dockerfile everywhere, with `files.tar` in the context, and asserts that the image is the same.
fn same_everywhere(dockerfile: &str) {
    let mut digests = Vec::new();
    for place in Place::all() {
        let Some(project) = Project::with_busybox() else {
            return;
        };
        let project = project.dockerfile(dockerfile).file("files.tar", archive());
        let project = place.owning(project);
        let built = place.build(&project).success();
        project.is_sound();
        digests.push((place, built.digest()));
    }
    let is_same = |(_, digest): &&(Place, String)| *digest == digests[0].1;
    assert!(digests.iter().all(|pair| is_same(&pair)), "{digests:#?}");
}

/// A tar with a file, a symbolic link and a FIFO of two names each, in two directories.
fn archive() -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut add = |kind: tar::EntryType, path: &str, link: &str, content: &[u8]| {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(if kind.is_dir() { 0o755 } else { 0o644 });
        header.set_uid(3);
        header.set_gid(4);
        header.set_mtime(1_000_000);
        header.set_size(content.len() as u64);
        if !link.is_empty() {
            header.set_link_name(link).unwrap();
        }
        header.set_path(path).unwrap();
        header.set_cksum();
        archive.append(&header, content).unwrap();
    };
    add(tar::EntryType::Directory, "one", "", b"");
    add(tar::EntryType::Directory, "two", "", b"");
    add(tar::EntryType::Regular, "one/a", "", b"content\n");
    add(tar::EntryType::Link, "one/b", "one/a", b"");
    add(tar::EntryType::Link, "two/c", "one/a", b"");
    add(tar::EntryType::Symlink, "one/l", "a", b"");
    add(tar::EntryType::Link, "two/m", "one/l", b"");
    add(tar::EntryType::Fifo, "one/p", "", b"");
    add(tar::EntryType::Link, "two/q", "one/p", b"");
    archive.into_inner().unwrap()
}

/// Eight directories with a file of three names each, made by an earlier step.
const FILES: &str = "RUN for d in 1 2 3 4 5 6 7 8; do \
    mkdir -p /$d/sub && echo $d > /$d/a && ln /$d/a /$d/b && ln /$d/a /$d/sub/c; done";

#[test]
fn writing_to_one_name_of_several_is_the_same_on_every_rung() {
    same_everywhere(&format!(
        "
        FROM busybox
        {FILES}
        RUN echo more >> /1/a
        RUN echo more >> /1/b && echo other > /2/a && cd /3/sub && echo x >> ./c && cd .. && echo x >> sub/../b
        RUN truncate -s 0 /4/b && dd if=/dev/zero of=/5/a bs=1 count=3 conv=notrunc && sed -i s/6/six/ /6/a
        RUN ln -s a /7/to && echo through >> /7/to && ln -s /7 /seven && echo through >> /seven/sub/c
        RUN exec 3>>/8/a && cp /8/b /8/kept && echo late >&3 && : >> /8/b
        RUN cat /?/a /?/b /?/sub/c > /seen
        "
    ));
}

#[test]
fn attributes_of_one_name_of_several_are_the_same_on_every_rung() {
    same_everywhere(&format!(
        "
        FROM busybox
        {FILES}
        RUN chmod 600 /1/a && cd /1/sub && chmod 4711 c
        RUN chown 5:6 /2/b && chown -R 7 /3 && chmod -R o-r /4
        RUN touch -d @77 /5/a && touch -h -d @78 /5/sub/c && chown -h 8 /6/a
        RUN chmod 644 /7/a && chown 0:0 /7/b
        RUN stat -c '%n %a %u:%g %s' /?/a /?/b /?/sub/c > /seen
        "
    ));
}

#[test]
fn moving_and_removing_one_name_of_several_is_the_same_on_every_rung() {
    same_everywhere(&format!(
        "
        FROM busybox
        {FILES}
        RUN mv /1/a /1/moved && rm /2/a && mv /3/a /3/b && rm -r /4
        RUN echo x >> /1/moved && echo x >> /1/b && echo y >> /2/b && echo z >> /3/b
        RUN ln /5/a /5/new && ln /5/new /5/newer && ln /6/a /6/x && echo x >> /6/x && ln -f /7/a /7/b
        RUN echo 5 >> /5/newer && echo 5 >> /5/b && cp /8/a /8/copy && mv /8/copy /8/a
        RUN rm /7/a /7/b /7/sub/c && echo 7 > /7/a && ln /7/a /7/b && ln /7/a /7/sub/d && echo 7 >> /7/sub/d
        RUN mv /5 /five && mv /1/moved /five/sub
        "
    ));
}

#[test]
fn copies_of_files_of_several_names_are_the_same_on_every_rung() {
    same_everywhere(&format!(
        "
        FROM busybox
        {FILES}
        RUN mkdir /copy && cp -a /1 /copy && tar -cf - 2 | tar -xf - -C /copy
        RUN mkdir /copy/3 && cp -a /3/a /3/b /copy/3 && echo x >> /4/a && cp -a /4 /copy
        RUN test /5/a -ef /5/b && echo x >> /5/a && ! test /5/a -ef /5/b && test /5/b -ef /5/sub/c
        RUN du -s /6 > /size && echo x >> /copy/1/a && cp -al /7 /linked && echo x >> /linked/a
        RUN --mount=type=bind,from=busybox,source=/bin,target=/mnt test /mnt/sh -ef /mnt/sh
        "
    ));
}

#[test]
fn names_of_links_and_special_files_are_the_same_on_every_rung() {
    same_everywhere(
        "
        FROM busybox
        RUN mkdir /d && ln -s to /d/l && ln /d/l /d/m && mkfifo /d/p && ln /d/p /d/q && ln /d/p /d/r
        RUN mknod /d/x c 1 3 && ln /d/x /d/y && ln /d/x /d/z
        RUN chown -h 5 /d/l && chmod 600 /d/p && chown 6 /d/q && mv /d/r /d/s
        RUN mv /d/m /d/n && chmod 600 /d/x && mv /d/y /d/w && touch -d @9 /d/z
        RUN cat /d/p > /out & echo through > /d/p; wait
        ",
    );
}

#[test]
fn files_of_several_names_of_an_archive_are_the_same_on_every_rung() {
    same_everywhere(
        "
        FROM busybox AS base
        ADD files.tar /f
        FROM base AS left
        RUN echo x >> /f/one/a && chown -h 9 /f/one/l && chmod 600 /f/two/q
        FROM base AS right
        RUN rm /f/one/a && cp -a /f /g && mv /f/two/c /f/one/a && mv /f/one/l /f/one/k
        FROM base
        COPY --from=left /f /left
        COPY --from=right /f /right
        COPY --from=right /g /g
        RUN echo y >> /left/one/b && echo y >> /right/one/b && echo y >> /g/one/b && chown 1 /f/two/c
        RUN --mount=from=left,source=/f,target=/mnt cp -a /mnt /from-mount
        ",
    );
}
