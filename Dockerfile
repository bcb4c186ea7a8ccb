# weir in an image without a shell or a system: the program and the certificates
# it trusts. `docker build -t weir .`; compose.yaml runs it beside Kafka and Redis.
FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=
RUN CGO_ENABLED=0 go build -trimpath -ldflags="-s -w -X main.version=${VERSION}" -o /out/weir ./cmd/weir && mkdir /out/data

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /out/weir /weir
# A volume that is mounted here for the first time takes over this owner.
COPY --from=build --chown=65532:65532 /out/data /data
# There is no /tmp here: weir verify's temporary file goes to the volume.
ENV WEIR_DATA=/data TMPDIR=/data
USER 65532:65532
VOLUME /data
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s CMD ["/weir", "health"]
ENTRYPOINT ["/weir"]
CMD ["up", "--listen", "0.0.0.0:8080"]
