# check=experimental=all
# foo this is the foo
ARG foo=bar
# not a description

ARG x=y
# base this is the base image
FROM scratch AS base
# a comment
#
ARG bit=bat
# about something else
COPY a .
# no name to describe
FROM scratch
