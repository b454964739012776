# The image that every node and the operator run: two static binaries, no shell, not root.
FROM --platform=$BUILDPLATFORM golang:1.26 AS build
ARG TARGETOS=linux TARGETARCH VERSION=dev
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH go build -trimpath -ldflags "-s -w -X main.version=$VERSION" -o /out/ ./cmd/kraftd ./cmd/manager

FROM scratch
COPY --from=build /out/kraftd /out/manager /
USER 65532:65532
ENTRYPOINT ["/kraftd"]
