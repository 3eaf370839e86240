# The API, the relay, and every command of `vidlm` that needs no model: no torch, no decoder. From the repository's root:
#   docker build -f docker/api.Dockerfile -t vidlm-api .

FROM python:3.11.15-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/vidlm
ENV PATH=/opt/vidlm/bin:$PATH
WORKDIR /src
COPY pyproject.toml constraints.txt docker/requirements.py ./
RUN python requirements.py api > api.txt
RUN pip install -c constraints.txt -r api.txt
COPY README.md LICENSE ./
COPY api api
COPY workers workers
COPY vidlm vidlm
RUN pip install --no-deps .

FROM python:3.11.15-slim-bookworm
RUN groupadd --gid 10001 vidlm
RUN useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin vidlm
RUN install --directory --owner 10001 --group 10001 --mode 0750 /data
COPY --from=build /opt/vidlm /opt/vidlm
ENV PATH=/opt/vidlm/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
ENV VIDLM_DATA=/data VIDLM_HOST=0.0.0.0 VIDLM_PORT=8000
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 8000
CMD ["python", "-m", "api"]
