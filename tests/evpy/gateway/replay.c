/* Runs a fuzz target over the files of a folder, without libFuzzer: REPLAY FOLDER. What the fuzzer once found is kept
 * in the corpus and tried again in every build. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int main(int argc, char **argv)
{
    int files = 0;
    DIR *folder = argc == 2 ? opendir(argv[1]) : NULL;
    if (folder == NULL) {
        fprintf(stderr, "usage: %s FOLDER\n", argv[0]);
        return 2;
    }
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        char path[4096];
        if (entry->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "%s/%s", argv[1], entry->d_name);
        FILE *f = fopen(path, "rb");
        uint8_t *data = malloc(1 << 17);
        if (f == NULL || data == NULL) {
            perror(path);
            return 2;
        }
        fprintf(stderr, "%s\n", path);
        const size_t size = fread(data, 1, 1 << 17, f);
        fclose(f);
        uint8_t *exact = malloc(size ? size : 1);
        for (size_t i = 0; i < size; i++) exact[i] = data[i];
        LLVMFuzzerTestOneInput(exact, size);
        free(exact);
        free(data);
        files++;
    }
    closedir(folder);
    if (files == 0) fprintf(stderr, "%s: empty\n", argv[1]);
    return files == 0;
}
