# A worker: ffmpeg and decord in confined children, and the model. From the repository's root:
#   docker build -f docker/worker.Dockerfile --build-arg TORCH=cpu -t vidlm-worker:cpu .
# TORCH: cpu, or cuda for machines with an NVIDIA GPU (gigabytes more).

FROM python:3.11.15-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/vidlm
ENV PATH=/opt/vidlm/bin:$PATH
WORKDIR /src
COPY pyproject.toml constraints.txt docker/requirements.py ./
RUN grep '^torch==' constraints.txt > torch.txt
ARG TORCH=cpu
RUN case "$TORCH" in \
        cpu) pip install --no-deps --index-url https://download.pytorch.org/whl/cpu -r torch.txt ;; \
        cuda) pip install -c constraints.txt -r torch.txt ;; \
        *) echo "TORCH is cpu or cuda, not $TORCH" >&2; exit 2 ;; \
    esac
RUN python requirements.py worker > worker.txt
RUN pip install -c constraints.txt -r worker.txt
COPY README.md LICENSE ./
COPY api api
COPY workers workers
COPY vidlm vidlm
RUN pip install --no-deps .

FROM python:3.11.15-slim-bookworm
RUN groupadd --gid 10001 vidlm
RUN useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin vidlm
RUN install --directory --owner 10001 --group 10001 --mode 0750 /data /models
COPY --from=build /opt/vidlm /opt/vidlm
ENV PATH=/opt/vidlm/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 OMP_WAIT_POLICY=PASSIVE
# models fetched from the hub are kept in a volume
ENV VIDLM_DATA=/data HF_HOME=/models
USER 10001:10001
WORKDIR /data
VOLUME /data /models
CMD ["vidlm", "worker"]
