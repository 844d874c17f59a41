/** The environment of a process that shall have nothing else in it than what it is given; and what keeps it from compiling anew what others have. */
export const bareEnv: NodeJS.ProcessEnv = {
  PATH: process.env["PATH"],
  NODE_COMPILE_CACHE: process.env["NODE_COMPILE_CACHE"],
};
