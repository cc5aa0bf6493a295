ARG A=1
FROM alpine
run true
Copy a b
WORKDIR /a
