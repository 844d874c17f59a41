/** Jobs to begin with; each runs as it stands on a new installation, but for those that say what they need. */
interface Sample {
  readonly name: string;
  readonly text: string;
}

export const samples: readonly [Sample, ...Sample[]] = [
  {
    name: "A command",
    text: `name: hello
steps:
  - command: [echo, hello from Capstan]
`,
  },
  {
    name: "A script with a result",
    text: `name: count-words
steps:
  - script:
      content: |
        for i in 1 2 3 4 5; do echo "step $i of 5"; sleep 1; done
        echo 'CAPSTAN_OUTPUT={"words": 5}'
    run_timeout: 60s
    retry: { max_attempts: 3, initial_backoff: 2s }
`,
  },
  {
    name: "A workflow",
    text: `name: build-and-release
input:
  targets: [linux, macos, windows]
steps:
  - name: lint
    script: { content: sleep 2; echo linted }
  - name: test
    script: { content: sleep 4; echo 'CAPSTAN_OUTPUT={"passed":214}' }
  - name: build
    depends_on: [lint]
    for_each: { expression: input.targets, max_parallel: 2 }
    script: { content: 'sleep 2; echo "built $TARGET"' }
    env: { TARGET: "\${{ item }}" }
  - name: release
    depends_on: [build, test]
    command: [echo, "released with \${{ steps.test.result.passed }} tests passed"]
`,
  },
  {
    name: "An approval",
    text: `name: deploy
steps:
  - name: plan
    command: [echo, three machines will change]
  - name: decide
    depends_on: [plan]
    approval: { message: Deploy to three machines?, timeout: 3600s }
  - name: apply
    depends_on: [decide]
    command: [echo, deployed]
`,
  },
  {
    name: "A container (needs Docker)",
    text: `name: contained
steps:
  - image: busybox
    command: [uname, -a]
    resources: { cpu_millis: 500, memory_mib: 64 }
`,
  },
  {
    name: "A handler (needs a worker)",
    text: `name: double
steps:
  - handler: double
    input: 21
`,
  },
];
