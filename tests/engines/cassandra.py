"""One Apache Cassandra node as a JVM, small and quick to start, its commit log synced before every acknowledgement."""

import socket
from pathlib import Path

from tests.engines.engine import CACHE, Process, free_port
from tests.engines.maven import JVMEngine

VERSION = "5.0.9"
MAIN = "org.apache.cassandra.service.CassandraDaemon"
HEAP = "384m"
READY_SECONDS_MAX = 180
PROBE_SECONDS = 0.5

POM = f"""
<project>
  <modelVersion>4.0.0</modelVersion>
  <groupId>chronoserve</groupId>
  <artifactId>cassandra-engine</artifactId>
  <version>{VERSION}</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>org.apache.cassandra</groupId>
      <artifactId>cassandra-all</artifactId>
      <version>{VERSION}</version>
    </dependency>
  </dependencies>
</project>
"""

LOGBACK = """
<configuration>
  <appender name="STDOUT" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%d %-5level %logger{20} %msg%n</pattern></encoder>
  </appender>
  <root level="WARN"><appender-ref ref="STDOUT"/></root>
</configuration>
"""

# commitlog_sync batch: the suite kills the only node there is, and "periodic" acknowledges before the log is on disk.
# Each writing thread waits for its sync, hence so many of them. The timeouts are the clients' business here: machines
# that run suites are busy.
SETTINGS = """
cluster_name: chronoserve
num_tokens: 1
partitioner: org.apache.cassandra.dht.Murmur3Partitioner
endpoint_snitch: SimpleSnitch
seed_provider:
  - class_name: org.apache.cassandra.locator.SimpleSeedProvider
    parameters: [{{seeds: "127.0.0.1:{storage_port}"}}]
listen_address: 127.0.0.1
rpc_address: 127.0.0.1
storage_port: {storage_port}
native_transport_port: {port}
commitlog_sync: batch
commitlog_segment_size: 16MiB
commitlog_total_space: 128MiB
commitlog_directory: {data}/commitlog
data_file_directories: [{data}/data]
saved_caches_directory: {data}/saved_caches
hints_directory: {data}/hints
cdc_raw_directory: {data}/cdc
file_cache_size: 32MiB
networking_cache_size: 16MiB
memtable_heap_space: 64MiB
memtable_offheap_space: 64MiB
concurrent_reads: 8
concurrent_writes: 128
request_timeout: 20s
read_request_timeout: 20s
range_request_timeout: 20s
write_request_timeout: 20s
cas_contention_timeout: 20s
native_transport_timeout: 20s
auto_snapshot: false
"""

JVM_OPTIONS = (
    "-Xss384k",
    # The small client compiler only: the node starts in two thirds of the time, and its speed is not what is tested.
    "-XX:TieredStopAtLevel=1",
    "-XX:+UseSerialGC",
    "-XX:-UsePerfData",
    "-Djdk.attach.allowAttachSelf=true",
    "-Djava.security.manager=allow",
    "-Dio.netty.tryReflectionSetAccessible=true",
    # One node has nobody to wait for.
    "-Dcassandra.skip_wait_for_gossip_to_settle=0",
    "-Dcassandra.ring_delay_ms=0",
    "-Dcassandra.initial_token=0",
    "-Dcassandra.superuser_setup_delay_ms=0",
)

OPENED_PACKAGES = {
    "java.base": (
        "jdk.internal.misc jdk.internal.ref jdk.internal.loader jdk.internal.reflect jdk.internal.math jdk.internal.module "
        "jdk.internal.util.jar sun.nio.ch java.lang java.lang.ref java.lang.module java.lang.reflect java.io java.nio java.net "
        "java.util java.util.concurrent java.util.concurrent.atomic"
    ),
    "java.rmi": "sun.rmi.registry sun.rmi.server sun.rmi.transport sun.rmi.transport.tcp",
    "jdk.management": "com.sun.management.internal",
}
"""What Cassandra reaches into, by module; JDK 17 closes it by default."""

OPTIONS_FRAME = bytes((4, 0, 0, 0, 5, 0, 0, 0, 0))
"""The OPTIONS request of CQL's native protocol, version 4: any client may ask it before it logs in."""
SUPPORTED_OPCODE = 6


class Cassandra(JVMEngine):
    """One node on two loopback ports, data kept over restarts."""

    name = "cassandra"
    home = CACHE / f"cassandra-{VERSION}"
    pom = POM

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.storage_port = free_port()

    @property
    def url(self) -> str:
        return f"cassandra://127.0.0.1:{self.port}/chronoserve?replication=1"

    def start(self) -> None:
        self._write_settings()
        self._process = Process(self._command(), log=self.directory / "cassandra.log", cwd=self.directory)
        self._process.wait_until(self.answers, seconds=READY_SECONDS_MAX)

    def answers(self) -> bool:
        """Whether the node answers in CQL's native protocol."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), PROBE_SECONDS) as probe:
                probe.sendall(OPTIONS_FRAME)
                reply = probe.recv(9)
        except OSError:
            return False
        return len(reply) > 4 and reply[4] == SUPPORTED_OPCODE

    def _write_settings(self) -> None:
        settings = SETTINGS.format(port=self.port, storage_port=self.storage_port, data=self.directory)
        (self.directory / "cassandra.yaml").write_text(settings)
        (self.directory / "logback.xml").write_text(LOGBACK)

    def _command(self) -> list[str]:
        (agent,) = (self.home / "lib").glob("jamm-*.jar")
        return [
            "java",
            f"-Xms{HEAP}",
            f"-Xmx{HEAP}",
            *JVM_OPTIONS,
            f"-javaagent:{agent}",
            *_opened_packages(),
            f"-Dlogback.configurationFile={self.directory}/logback.xml",
            f"-Dcassandra.config=file://{self.directory}/cassandra.yaml",
            f"-Dcassandra.storagedir={self.directory}",
            "-cp",
            f"{self.home}/lib/*",
            MAIN,
        ]


def _opened_packages() -> list[str]:
    return [
        f"--add-{verb}={module}/{package}=ALL-UNNAMED"
        for module, packages in OPENED_PACKAGES.items()
        for package in packages.split()
        for verb in ("exports", "opens")
    ]
